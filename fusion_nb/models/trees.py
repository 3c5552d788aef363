"""Boosters of trees as bytes in a model's weights, whatever framework they are of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Protocol, Self

import numpy as np

from fusion_nb.core.types import Weights
from fusion_nb.models.lightgbm.trees import LightGBMTrees
from fusion_nb.models.xgboost.trees import XGBoostTrees

#: The entry of the weights that holds the booster: bytes of its framework's own text.
ENTRY = "booster"


class Trees(Protocol):
    """A booster that was taken apart into its trees."""

    @property
    def num_trees(self) -> int:
        """The number of trees."""

    @property
    def num_features(self) -> int:
        """Numbers of a row."""

    @property
    def form(self) -> tuple[str, ...]:
        """The parts in which boosters must agree whose trees are put together."""

    def write(self) -> bytes:
        """Return the booster's text."""

    def added_to(self, earlier: int) -> Self:
        """Return the booster without its first trees: those that were added to them."""

    def joined(self, others: Iterable[tuple[Self, float]]) -> Self:
        """Return this booster with the trees of others after its own, each times a factor."""

    def fault(self) -> str:
        """Return what is wrong with the trees, or ""."""


def read(weights: Weights) -> Any:
    """Return the trees in a model's weights, which must not be changed.

    Raises ValueError for other bytes.
    """
    return _read(weights[ENTRY].tobytes())


@lru_cache(maxsize=4)
def _read(raw: bytes) -> Any:
    # Every update of a round is compared with the same booster, so that the last ones are kept.
    return XGBoostTrees.read(raw) if raw[:1] == b"{" else LightGBMTrees.read(raw)


def write(trees: Trees) -> Weights:
    """Return weights that hold trees."""
    return {ENTRY: np.frombuffer(trees.write(), np.uint8).copy()}


def misfit(found: Weights, expected: Weights, *, partial: bool = False) -> str:
    """Return why a booster can't be used in the place of another, or "".

    partial: no booster, or one without the trees that were sent out, is enough
    """
    if not isinstance(found, dict):
        return f"it is {type(found).__name__}, not a dictionary of arrays by name"
    if not found and partial:
        return ""
    if found.keys() != {ENTRY}:
        return f"its entries are named differently: {', '.join(sorted(found)[:3])}"
    array = found[ENTRY]
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.ndim != 1:
        return f"{ENTRY!r} is not a row of bytes"
    if np.array_equal(array, expected[ENTRY]):
        return ""
    try:
        own, theirs = read(found), read(expected)
        if own.form != theirs.form:
            return f"its booster is of another form: {', '.join(own.form)}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "its bytes are no booster"
    if not partial and own.num_trees < theirs.num_trees:
        return f"it has {own.num_trees} trees, and {theirs.num_trees} were sent out"
    return str(own.fault())
