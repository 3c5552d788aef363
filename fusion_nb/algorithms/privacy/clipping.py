"""Clipping an update to a norm, and Gaussian noise for its entries."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from fusion_nb.algorithms.fusions.server_update import trained_change
from fusion_nb.core import arithmetic
from fusion_nb.core.types import Weights
from fusion_nb.errors import ModelError


def clipped_change(
    new: Weights, old: Weights, trained: Collection[str], clip: float
) -> tuple[Weights, float]:
    """Return the change of the trained entries, at most of the norm `clip`, and its norm before.

    The change is in float64; the norm is over all entries together.
    """
    change = trained_change(new, old, trained)
    norm = arithmetic.norm(change)
    if norm <= clip:
        return change, norm
    return {name: array * (clip / norm) for name, array in change.items()}, norm


def gaussian(like: Weights, deviation: float, rng: np.random.Generator) -> Weights:
    """Return independent normal noise for every number, drawn in the order of the sorted names."""
    return {name: rng.normal(0.0, deviation, like[name].shape) for name in sorted(like)}


def check_untrained(new: Weights, old: Weights, trained: Collection[str], party: str) -> None:
    """Raise ModelError where local training changed an entry that gradients don't train.

    Such an entry holds facts about the party's rows, and no clipping of the change limits it.
    """
    for name, array in new.items():
        if name not in trained and not np.array_equal(array, old[name], equal_nan=True):
            raise ModelError(
                f"training at {party} changed {name!r}, which gradients don't train, and privacy "
                "covers only entries that they do",
                "use a layer without statistics of its own, such as GroupNorm for BatchNorm",
            )
