"""How a plain function, or a class, is registered as an aggregation rule."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Update, Weights
from fusion_nb.errors import OptionError

#: A function that returns new weights from those before the round and the parties' updates.
Rule = Callable[[Weights, Iterator[Update]], Weights]

#: The members of a rule's class before the contract was an abstract base class, and their names
#: today.
_RENAMED = {
    "fuse": "aggregate",
    "local": "client_options",
    "train": "local_update(context)",
    "send": "broadcast",
    "down": "shared_weights(weights, state)",
    "meet": "init(weights, info)",
    "asks": "select_senders",
    "adopt": "after_sync",
    "closing": "post_training",
    "everyone": "requires.full_participation",
    "may_be_silent": "requires.no_update_allowed",
    "keeps_partial": "requires.uses_partial_work",
    "needs_sgd": "requires.plain_sgd",
    "needs_travel": "requires.effective_step_size",
    "min_updates": "requires.min_updates",
    "sends_part": "requires.partial_updates",
    "keeps_layers": "requires.local_layers",
}


class FunctionFusion(Fusion):
    """Makes a fusion from a function. It has no state and asks nothing of the parties.

    >>> import numpy as np
    >>> largest = FunctionFusion(lambda weights, updates: max(
    ...     updates, key=lambda update: update.num_examples).weights)
    >>> updates = [Update("a", {"w": np.ones(2)}, 10), Update("b", {"w": np.zeros(2)}, 5)]
    >>> largest.aggregate({"w": np.zeros(2)}, iter(updates), None)
    ({'w': array([1., 1.])}, None)
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights that the function returns, and the state unchanged."""
        return self._rule(weights, updates), state


def stateless(rule: Callable[..., Weights]) -> Callable[..., Fusion]:
    """Turn a function `(weights, updates, *, options)` that returns new weights into a maker of
    fusions.

    `weights` are those before the round; `updates` is an iterator in party order that can be read
    once. Keyword-only parameters become the fusion's options. Raises OptionError for a function of
    another form.
    """
    parameters = inspect.signature(rule, eval_str=True).parameters.values()
    positional = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    if len(positional) != 2:
        raise OptionError(
            f"the function {rule.__name__}({', '.join(positional)}) can't be a fusion",
            "write it as (weights, updates), options after a *, and return the new weights",
        )

    @functools.wraps(rule)
    def make(**options: Any) -> Fusion:
        return FunctionFusion(functools.partial(rule, **options))

    # The keyword-only parameters that remain are the options; the registry reads them from here.
    make.__signature__ = inspect.Signature([p for p in parameters if p.kind is p.KEYWORD_ONLY])  # type: ignore[attr-defined]
    return make


def promote(rule: Any) -> Callable[..., Fusion]:
    """Return a maker of fusions from a function, or from a class derived from `Fusion`.

    Raises OptionError for a class of another form; for one of the earlier form, the hint says what
    to rename.
    """
    if not inspect.isclass(rule):
        return stateless(rule)
    old = [name for name in _RENAMED if name in vars(rule)]
    if old and not (issubclass(rule, Fusion) and "aggregate" in vars(rule)):
        renamed = ", ".join(f"{name} -> {_RENAMED[name]}" for name in old)
        raise OptionError(
            f"the class {rule.__name__} has the form that fusions had earlier",
            f"derive it from fusion_nb.core.protocols.Fusion and rename: {renamed}",
        )
    if not issubclass(rule, Fusion) or inspect.isabstract(rule):
        raise OptionError(
            f"the class {rule.__name__} is no fusion",
            "derive it from fusion_nb.core.protocols.Fusion and write "
            "aggregate(weights, updates, state), which returns (weights, state)",
        )
    return rule


fusion = registry.decorator("fusions", promote)
fusion.__doc__ = """Register an aggregation rule under its own name, for the option `fusion`.

>>> @fusion
... def biggest_party(weights, updates):
...     return max(updates, key=lambda update: update.num_examples).weights
"""
