"""How a plain function becomes an aggregation rule."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from fusion_nb.core import registry
from fusion_nb.core.types import Answer, Fusion, Turn, Update, Weights
from fusion_nb.errors import OptionError

Rule = Callable[[Weights, Iterator[Update]], Weights]


class Stateless:
    """A fusion made from a function: it remembers nothing between rounds and asks nothing of the
    parties.
    """

    local: Mapping[str, Any] = {}

    def __init__(self, rule: Rule) -> None:
        self._rule = rule

    def init(self, weights: Weights) -> Any:
        """Return the state, of which there is none."""
        return None

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return what the function makes of the updates, and the state as it was."""
        return self._rule(weights, updates), state


class Around:
    """A rule around another one: what it does not change is the other's, and so are options and the
    rest it may have.

    `Around(inner)` itself changes nothing.
    """

    def __init__(self, inner: Fusion) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # while it is being copied, and has none yet
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def local(self) -> Mapping[str, Any]:
        """What every party must honour: what the inner rule asks for."""
        return self.inner.local

    def init(self, weights: Weights) -> Any:
        """Return the inner rule's state."""
        return self.inner.init(weights)

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return what the inner rule makes of the updates."""
        return self.inner.fuse(weights, updates, state)


def take_turn(fusion: Fusion, turn: Turn) -> Answer:
    """Return a party's answer in its turn: the fusion's own party's side, or one training from the
    weights.
    """
    if hasattr(fusion, "train"):
        return cast(Answer, fusion.train(turn))
    return turn.update(turn.train(turn.weights).weights)


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
        return Stateless(functools.partial(rule, **options))

    # What is left to fill in are the options; the registry reads them from here.
    make.__signature__ = inspect.Signature([p for p in parameters if p.kind is p.KEYWORD_ONLY])  # type: ignore[attr-defined]
    return make


def promote(rule: Any) -> Callable[..., Fusion]:
    """Return a maker of fusions from a function, or from a class that has `local`, `init` and
    `fuse`.
    """
    if not inspect.isclass(rule):
        return stateless(rule)
    if missing := [name for name in ("local", "init", "fuse") if not hasattr(rule, name)]:
        raise OptionError(
            f"the class {rule.__name__} is no fusion: it has no {' and no '.join(missing)}",
            "a fusion has: local (a dict), init(weights) and fuse(weights, updates, state)",
        )
    return cast(Callable[..., Fusion], rule)


fusion = registry.decorator("fusions", promote)
fusion.__doc__ = """Register an aggregation rule under its own name, for `--fusion name`.

>>> @fusion
... def biggest_party(weights, updates):
...     return max(updates, key=lambda update: update.num_examples).weights
"""
