"""PyTorch's own optimizers, by the names that people write for them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from typing import Any

from torch import nn, optim

from fusion_nb.errors import OptionError, nearest
from fusion_nb.registry import parse

#: Takes a closure, and so does not fit a loop of one step for each batch.
_LEFT_OUT = {"LBFGS"}
_KNOWN = {
    name.lower(): kind
    for name, kind in vars(optim).items()
    if isinstance(kind, type)
    and issubclass(kind, optim.Optimizer)
    and kind is not optim.Optimizer
    and name not in _LEFT_OUT
}

NAMES = sorted(_KNOWN)


def make(choice: Any, parameters: Iterable[nn.Parameter], lr: float | None) -> optim.Optimizer:
    """Return an optimizer from `sgd:momentum=0.9`, `optim.Adam`, `torch.optim.Adadelta`, or an Optimizer class.

    Raises OptionError for an unknown name, an option that it doesn't have, or a value that it refuses.
    """
    kind, options = _resolve(choice)
    try:
        return kind(list(parameters), **(options if lr is None else options | {"lr": lr}))
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"the optimizer {choice!r} can't be made: {error}",
            f"its options are: {', '.join(_options(kind))}",
        ) from error


def _resolve(choice: Any) -> tuple[type[optim.Optimizer], dict[str, Any]]:
    if isinstance(choice, type) and issubclass(choice, optim.Optimizer) and choice.__name__ not in _LEFT_OUT:
        return choice, {}
    choice = getattr(choice, "__name__", choice)
    name, given = parse(str(choice))
    kind = _KNOWN.get(name.rpartition(".")[2].lower())
    if kind is None:
        raise OptionError(
            f"PyTorch has no optimizer {name!r}",
            f"{nearest(name.rpartition('.')[2].lower(), _KNOWN)}there are: {', '.join(NAMES)}",
        )
    if unknown := [option for option in given if option not in _options(kind)]:
        raise OptionError(
            f"the optimizer {name!r} has no option {unknown[0]!r}",
            f"{nearest(unknown[0], _options(kind))}its options are: {', '.join(_options(kind))}",
        )
    return kind, {option: _value(text) for option, text in given.items()}


def _options(kind: type[optim.Optimizer]) -> list[str]:
    return [name for name in inspect.signature(kind).parameters if name not in ("params", "lr")]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        return text
