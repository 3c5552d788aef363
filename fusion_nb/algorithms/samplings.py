"""Samplings: functions that choose the parties that train in a round."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.core import registry
from fusion_nb.core.protocols import Sampling, SamplingContext
from fusion_nb.errors import OptionError, nearest, option

#: Parties of a cohort to one that is looked at for its loss, unless the user says otherwise.
_LOOKED_AT = 2


def uniform(context: SamplingContext) -> Sequence[str]:
    """Choose the share `fraction` of the parties, each with the same chance."""
    return context.uniform()


def poisson(
    context: SamplingContext,
    *,
    q: Annotated[
        float, Field(description="chance of each party (0: that of the fraction)", ge=0, le=1)
    ] = 0.0,
) -> Sequence[str]:
    """Choose each party with the same chance, independently of the others.

    A round may have no party: it trains nothing, and the weights stay as they are.

    Source: Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep Learning with
    Differential Privacy", CCS 2016.
    """
    drawn = context.rng.random(len(context.parties)) < (q or context.fraction)
    return [party for party, is_in in zip(context.parties, drawn, strict=True) if is_in]


def loss(
    context: SamplingContext,
    *,
    d: Annotated[
        int, Field(description="parties whose losses are compared (0: twice a cohort)", ge=0)
    ] = 0,
) -> Sequence[str]:
    """Choose the parties with the largest losses among some that are drawn by their rows.

    A loss is that of a party's last training; a party that has not trained yet comes first.

    Source: the variant rpow-d of Cho, Wang, Joshi, "Towards Understanding Biased Client Selection
    in Federated Learning", AISTATS 2022.
    """
    parties, rng, losses = context.parties, context.rng, context.losses
    num_drawn = min(len(parties), max(d or _LOOKED_AT * context.count, context.count))
    sizes = [max(1, context.num_examples.get(party, 1)) for party in parties]
    shares = [size / sum(sizes) for size in sizes]
    drawn = sorted(rng.choice(len(parties), num_drawn, replace=False, p=shares).tolist())
    # Sorting keeps the order of parties with equal losses.
    worst = sorted(drawn, key=lambda i: -losses.get(parties[i], float("inf")))
    return [parties[i] for i in worst[: context.count]]


def named(
    context: SamplingContext,
    *,
    parties: Annotated[
        str,
        Field(
            description="names with | between, or a variable: a list of names, or a dict of lists "
            "by the round from which each holds"
        ),
    ],
) -> Sequence[str]:
    """Choose the parties that the user names, in all rounds or from given rounds on."""
    given: Any = parties  # text as it is written, or names by round, which `make` made of it
    if isinstance(given, str):
        return _listed(given)
    return list(given[max(number for number in given if number <= context.round)])


def make(text: str, namespace: Mapping[str, Any], parties: Sequence[str]) -> Sampling:
    """Return the sampling that text such as `poisson:q=0.2` names.

    namespace: where a variable of named parties is looked up;  parties: those that train
    Raises OptionError or NameNotFoundError.
    """
    function, chosen = registry.bind("samplings", text)
    if function is named:
        chosen["parties"] = _named_parties(chosen["parties"], namespace, parties)
    made: Sampling = functools.partial(function, **chosen)
    return made


def is_named(chosen: Sampling) -> bool:
    """Return whether a sampling that `make` returned is one of parties that the user names."""
    return isinstance(chosen, functools.partial) and chosen.func is named


def chance(chosen: Sampling, fraction: float) -> float | None:
    """Return the chance of each party where parties are drawn independently, or else None."""
    if not (isinstance(chosen, functools.partial) and chosen.func is poisson):
        return None
    return float(chosen.keywords.get("q", 0.0) or fraction)


def promote(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function if it can be a sampling. Raises OptionError for one of another form."""
    if inspect.isclass(function) or not callable(function):
        name = function.__name__ if inspect.isclass(function) else type(function).__name__
        raise OptionError(
            f"{name} is no function, and a sampling is one",
            "write @sampling above def name(context)",
        )
    parameters = inspect.signature(function).parameters.values()
    if sum(p.kind is not p.KEYWORD_ONLY for p in parameters) != 1:
        raise OptionError(
            f"the function {function.__name__} can't be a sampling",
            "write it as (context), options after a *; it returns some of context.parties",
        )
    return function


def _named_parties(text: str, namespace: Mapping[str, Any], parties: Sequence[str]) -> Any:
    """Return the named parties as `named` takes them. Raises OptionError."""
    given = namespace.get(text, text)
    if not isinstance(given, str | Mapping | list | tuple):
        raise OptionError(
            f"{option('sampling', f'named:{text}')} is {type(given).__name__}, and holds no names "
            "of parties",
            "give a list of names, or a dict of lists by the round from which each holds",
        )
    lists = given if isinstance(given, Mapping) else {1: given}
    lists = {
        number: _listed(names) if isinstance(names, str) else list(names)
        for number, names in lists.items()
    }
    if not all(isinstance(number, int) and number > 0 for number in lists) or 1 not in lists:
        raise OptionError(
            f"{option('sampling', f'named:{text}')} does not say who trains in round 1",
            "its keys are the rounds from which each list holds: {1: [...], 5: [...]}",
        )
    for name in (name for names in lists.values() for name in names):
        if name not in parties:
            raise OptionError(
                f"{option('sampling', f'named:{text}')} names {name!r}, which is no party that "
                "trains",
                f"{nearest(str(name), parties)}there are: {', '.join(parties[:10])}",
                option="sampling",
                value=name,
            )
    return lists


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split("|") if name.strip()]


sampling = registry.decorator("samplings", promote)
sampling.__doc__ = """Register a sampling under its own name, for `--sampling name`.

Its function gets a `SamplingContext`, and returns some of its parties; none lets the round pass.

>>> @sampling
... def in_turn(context, *, first: int = 0):
...     return [context.parties[(first + context.round) % len(context.parties)]]
>>> make("in_turn:first=1", {}, ["a", "b"])(SamplingContext(["a", "b"], round=1, seed=0))
['a']
"""
