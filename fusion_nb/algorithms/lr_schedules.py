"""Schedules of the learning rate: functions of the round that give a factor of the run's rate."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.core import registry
from fusion_nb.core.rounds.lr_schedule import LrSchedule
from fusion_nb.errors import OptionError, option

_Least = Annotated[float, Field(description="factor that the last round would fall to", ge=0, lt=1)]
_Factor = Annotated[float, Field(description="factor of each fall", gt=0)]


def constant(round: int) -> float:
    """Keep the learning rate of the run in all rounds."""
    return 1.0


def cosine(round: int, rounds: int, *, least: _Least = 0.0) -> float:
    """Let the learning rate fall along half a cosine, slowly at first and at the end.

    The first round has the whole rate, and the round after the last one would have `least` of it.

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.
    """
    return least + (1 - least) * (1 + math.cos(math.pi * (round - 1) / rounds)) / 2


def linear(round: int, rounds: int, *, least: _Least = 0.0) -> float:
    """Let the learning rate fall by the same amount in each round.

    The first round has the whole rate, and the round after the last one would have `least` of it.
    """
    return 1 - (1 - least) * (round - 1) / rounds


def step(
    round: int,
    *,
    every: Annotated[int, Field(description="rounds between two falls", ge=1)] = 10,
    factor: _Factor = 0.1,
) -> float:
    """Multiply the learning rate by a factor every few rounds."""
    return factor ** ((round - 1) // every)


def exponential(round: int, *, factor: _Factor = 0.95) -> float:
    """Multiply the learning rate by a factor in each round."""
    return factor ** (round - 1)


def warmup(
    number: int,
    last: int,
    *,
    rounds: Annotated[int, Field(description="rounds in which the rate rises", ge=1)] = 5,
    then: Annotated[
        str, Field(description="schedule that follows, as cosine or (step:every=5,factor=0.5)")
    ] = "constant",
) -> float:
    """Let the learning rate rise in equal steps in the first rounds, and follow another schedule.

    Source: Goyal, Dollar, Girshick, Noordhuis, Wesolowski, Kyrola, Tulloch, Jia, He, "Accurate,
    Large Minibatch SGD: Training ImageNet in 1 Hour", 2017.
    """
    following = make(then.strip().removeprefix("(").removesuffix(")"))
    if number <= rounds:
        return number / (rounds + 1)
    return following.factor(number - rounds, max(1, last - rounds))


def make(text: str) -> LrSchedule:
    """Return the schedule that text such as `step:every=5,factor=0.5` names.

    Raises OptionError or NameNotFoundError.
    """
    function, chosen = registry.bind("lr_schedules", text)
    return of_function(functools.partial(function, **chosen), registry.parse(text)[0])


def of_function(function: Callable[..., Any], name: str) -> LrSchedule:
    """Return the schedule of a function of (round) or of (round, rounds).

    Raises OptionError for one of another form.
    """
    if _num_positional(function) == 2:
        return LrSchedule(name, function)
    promote(function)
    return LrSchedule(name, lambda number, _: function(number), begins_anew=False)


def promote(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function if it can be a schedule. Raises OptionError for one of another form."""
    if inspect.isclass(function) or not callable(function):
        name = function.__name__ if inspect.isclass(function) else type(function).__name__
        raise OptionError(
            f"{name} is no function, and a schedule of the learning rate is one",
            "write @lr_schedule above def name(round, rounds)",
        )
    if _num_positional(function) not in (1, 2):
        raise OptionError(
            f"the function {getattr(function, '__name__', 'given')} can't be a schedule of the "
            "learning rate",
            "write it as (round) or (round, rounds), options after a *; it returns a factor of "
            f"{option('lr')}, such as 0.5",
        )
    return function


def _num_positional(function: Callable[..., Any]) -> int:
    """Return how many parameters without a default a function takes by position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a built-in function that tells nothing of itself
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


lr_schedule = registry.decorator("lr_schedules", promote)
lr_schedule.__doc__ = """Register a schedule of the learning rate under its own name.

Its function gets the number of a round, from 1, and returns a factor of the run's `lr`. One that
takes the planned number of rounds too begins anew over rounds that are added.

>>> @lr_schedule
... def halving(round, *, every: int = 1):
...     return 0.5 ** ((round - 1) // every)
>>> make("halving:every=2").factor(3, 10)
0.5
"""
