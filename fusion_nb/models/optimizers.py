"""Optimizers of any framework by text such as `sgd:momentum=0.9`."""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from fusion_nb.core.registry import parse
from fusion_nb.errors import OptionError, nearest, option
from fusion_nb.models.identity import texts


@dataclass(frozen=True)
class Optimizers:
    """The optimizers of one framework.

    framework: its name in messages;  module: the module that holds them;  base: their base class
    left_out: classes that don't fit a loop of one step for each batch, or can't be made from text
    not_options: parameters of their constructors that a user can't give in text
    """

    framework: str
    module: ModuleType
    base: type
    left_out: frozenset[str]
    not_options: frozenset[str]

    @functools.cached_property
    def known(self) -> dict[str, Callable[..., Any]]:
        """The classes by lower-case name."""
        found = {name: kind for name, kind in vars(self.module).items() if self._is_usable(kind)}
        return {name.lower(): kind for name, kind in found.items()}

    @property
    def names(self) -> list[str]:
        """The names, sorted."""
        return sorted(self.known)

    def make(self, choice: Any, *first: Any, **fixed: Any) -> Any:
        """Return an optimizer.

        choice: `adam`, `sgd:momentum=0.9`, `optim.Adam`, or a class of the framework's
        first, fixed: arguments of its constructor besides the options in the text
        Raises OptionError for an unknown name, an option that it doesn't have, or a value that it
        refuses.
        """
        kind, options = self._resolve(choice)
        try:
            return kind(*first, **{**options, **fixed})
        except (TypeError, ValueError) as error:
            line = f"the optimizer {choice!r} can't be made: {str(error).strip().splitlines()[0]}"
            hint = f"its options are: {', '.join(self._options(kind))}"
            raise OptionError(line, hint, option="optimizer", value=choice) from error

    def identity(self, choice: Any) -> dict[str, str]:
        """Return an optimizer's class and options as text, those of its constructor included.

        choice: as in `make`
        """
        kind, given = self._resolve(choice)
        usual = inspect.signature(kind).parameters
        options = {name: usual[name].default for name in self._options(kind)} | given
        return {**texts.of_choice(kind), **texts.of_settings(options)}

    def _resolve(self, choice: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
        if self._is_usable(choice):
            return choice, {}
        if isinstance(choice, self.base):
            text = self._text(type(choice), getattr(choice, "defaults", {}))
            raise OptionError(
                f"the optimizer is an object ({type(choice).__name__}) that holds one model's "
                "parameters, and parties train copies of the model",
                "give its name or its class, by which one is made for each: "
                f"{option('optimizer', text)}",
                option="optimizer",
            )
        if isinstance(choice, functools.partial):
            made: Any = choice.func
            text = self._text(made, choice.keywords) if self._is_usable(made) else "adam"
            raise OptionError(
                f"the optimizer is a partial of {getattr(made, '__name__', made)}",
                f"write its options after its name: {option('optimizer', text)}",
                option="optimizer",
            )
        name, given = parse(str(getattr(choice, "__name__", choice)))
        short = name.rpartition(".")[2].lower()
        kind = self.known.get(short)
        if kind is None:
            raise OptionError(
                f"{self.framework} has no optimizer {name!r}",
                f"{nearest(short, self.known)}there are: {', '.join(self.names)}",
                option="optimizer",
                value=choice,
                allowed=self.names,
            )
        if rate := next((word for word in given if word in ("lr", "learning_rate")), ""):
            raise OptionError(
                f"the optimizer {name!r} takes no {rate!r} here: a run has its own",
                f"leave it out, and say {option('lr', given[rate])} "
                "(--lr in a cell, lr= in Python)",
                option="optimizer",
                value=choice,
            )
        if unknown := [word for word in given if word not in self._options(kind)]:
            raise OptionError(
                f"the optimizer {name!r} has no option {unknown[0]!r}",
                f"{nearest(unknown[0], self._options(kind))}its options are: "
                f"{', '.join(self._options(kind))}",
                option="optimizer",
                value=choice,
            )
        return kind, {word: _value(text) for word, text in given.items()}

    def _text(self, kind: Callable[..., Any], options: Mapping[str, Any]) -> str:
        """Return how an optimizer with these options is written: `sgd:momentum=0.9`."""
        usual = {name: p.default for name, p in inspect.signature(kind).parameters.items()}
        given = [
            f"{name}={value}"
            for name, value in options.items()
            if name in self._options(kind) and value != usual[name]
        ]
        return ":".join((kind.__name__.lower(), ",".join(given))).rstrip(":")

    def _is_usable(self, kind: Any) -> bool:
        is_optimizer = (
            isinstance(kind, type) and issubclass(kind, self.base) and kind is not self.base
        )
        return is_optimizer and kind.__name__ not in self.left_out

    def _options(self, kind: Callable[..., Any]) -> list[str]:
        return [name for name in inspect.signature(kind).parameters if name not in self.not_options]


def is_sgd(choice: Any) -> bool:
    """Return whether a run's optimizer (text, class or object) is SGD, with or without momentum."""
    if isinstance(choice, str):
        return parse(choice)[0].rpartition(".")[2].lower() == "sgd"
    return (choice if isinstance(choice, type) else type(choice)).__name__ == "SGD"


def has_momentum(choice: Any) -> bool:
    """Return whether a run's optimizer, as text or object, is SGD with momentum."""
    given = (
        parse(choice)[1].get("momentum", "0")
        if isinstance(choice, str)
        else getattr(choice, "momentum", 0)
    )
    return is_sgd(choice) and str(given) not in ("0", "0.0")


def effective_step_size(
    num_steps: int, lr: float, momentum: float = 0.0, dampening: float = 0.0, nesterov: bool = False
) -> float:
    """Return how far `num_steps` of a new SGD optimizer carry a weight whose gradient is always 1.

    Source: the sum of the coefficients a_i of Wang, Liu, Liang, Joshi, Poor, "Tackling the
    Objective Inconsistency Problem in Heterogeneous Federated Optimization", NeurIPS 2020.

    >>> effective_step_size(3, 0.5)  # (1 + 1 + 1) times lr
    1.5
    >>> effective_step_size(3, 0.5, momentum=0.5)  # (1 + 1.5 + 1.75) times lr
    2.125
    """
    if not momentum:
        return num_steps * lr
    velocity, total = 0.0, 0.0
    for step in range(num_steps):
        velocity = momentum * velocity + (1 - dampening if step else 1.0)
        total += 1 + momentum * velocity if nesterov else velocity
    return total * lr


def _value(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        return text
