"""How a plain function, or a class, is registered as an aggregation rule."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, cast

from fusion_nb.core import registry
from fusion_nb.core.contracts import check_form
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Update, Weights
from fusion_nb.errors import OptionError

#: A function that returns new weights from those before the round and the parties' updates.
Rule = Callable[[Weights, Iterator[Update]], Weights]


class FunctionFusion(Fusion):
    """Makes a fusion from a function. It has no state and asks nothing of the parties.

    >>> import numpy as np
    >>> largest = FunctionFusion(lambda weights, updates: max(
    ...     updates, key=lambda update: update.num_examples).weights)
    >>> updates = [Update("a", {"w": np.ones(2)}, 10), Update("b", {"w": np.zeros(2)}, 5)]
    >>> largest.aggregate({"w": np.zeros(2)}, iter(updates), None)
    ({'w': array([1., 1.])}, None)
    """

    not_linear = "is a function, which may read the updates of single parties"

    def __init__(self, rule: Rule, *, linear: bool = False, equal_shares: bool = False) -> None:
        self._rule, self.linear, self.equal_shares = rule, linear, equal_shares

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights that the function returns, and the state unchanged."""
        return self._rule(weights, updates), state


def stateless(
    rule: Callable[..., Weights], *, linear: bool = False, equal_shares: bool = False
) -> Callable[..., Fusion]:
    """Turn a function `(weights, updates, *, options) -> weights` into a maker of fusions.

    `weights` are those before the round; `updates` is an iterator in party order that can be read
    once. Keyword-only parameters become the fusion's options. Raises OptionError for a function of
    another form.

    linear: whether the function depends on the updates through their mean alone (`Fusion.linear`)
    equal_shares: whether all parties count alike in that mean
    """
    parameters = inspect.signature(rule, eval_str=True).parameters.values()
    positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    if len(positional) > 2:
        bare = [p.replace(annotation=p.empty) for p in parameters]
        line = ", ".join(map(str, [*bare[:2], "*", *bare[2:]]))
        raise OptionError(
            f"the function {rule.__name__} can't be a fusion: {positional[2]} is not keyword-only",
            f"write def {rule.__name__}({line})",
        )
    if len(positional) != 2:
        raise OptionError(
            f"the function {rule.__name__}({', '.join(positional)}) can't be a fusion",
            "write it as (weights, updates), options after a *, and return the new weights",
        )

    @functools.wraps(rule)
    def make(**options: Any) -> Fusion:
        return FunctionFusion(
            functools.partial(rule, **options), linear=linear, equal_shares=equal_shares
        )

    # The keyword-only parameters that remain are the options; the registry reads them from here.
    make.__signature__ = inspect.Signature([p for p in parameters if p.kind is p.KEYWORD_ONLY])  # type: ignore[attr-defined]
    return make


def promote(rule: Any) -> Callable[..., Fusion]:
    """Return a maker of fusions from a function, or from a class derived from `Fusion`.

    Raises OptionError for a class of another form; for one of an earlier form, the hint says what
    to rename.
    """
    if isinstance(rule, Fusion) or not callable(rule):
        raise OptionError(
            f"{type(rule).__name__} is given as an object, and a fusion is registered as a class "
            "or a function",
            f"write @fusion above class {type(rule).__name__}; a run makes the objects",
        )
    if not inspect.isclass(rule):
        return stateless(rule)
    check_form("fusions", rule, "fusion")
    return cast(Callable[..., Fusion], rule)


fusion = registry.decorator("fusions", promote)
fusion.__doc__ = """Register an aggregation rule under its own name, for the option `fusion`.

>>> @fusion
... def biggest_party(weights, updates):
...     return max(updates, key=lambda update: update.num_examples).weights
"""
