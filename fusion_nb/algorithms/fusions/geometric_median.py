"""The geometric median, also known as RFA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions import update_matrix
from fusion_nb.algorithms.fusions.robust import RobustFusion, finite_changes, moved_by
from fusion_nb.core.types import Update, Weights

#: Part of itself by which the sum of distances must fall for Weiszfeld's algorithm to continue.
_TOLERANCE = 1e-6


class GeometricMedian(RobustFusion):
    """Take the point with the least sum of distances to all parties' weights.

    It is found by the smoothed Weiszfeld algorithm: repeated means in which a party has the share
    1 / max(nu, distance from the last mean), until the sum of the distances hardly falls. The first
    distances are from the weights of the round before, which no hostile party chose; no party has a
    larger share then than the one at the median distance, since the algorithm leaves a party's own
    place only slowly.

    Source: Pillutla, Kakade, Harchaoui, "Robust Aggregation for Federated Learning", IEEE
    Transactions on Signal Processing 2022.
    """

    name = "geometric_median"

    def __init__(
        self,
        *,
        nu: Annotated[
            float, Field(description="distance below which nearer counts no more", gt=0)
        ] = 1e-6,
        iterations: Annotated[int, Field(description="means to take at most", ge=1)] = 100,
    ) -> None:
        self._nu, self._iterations = nu, iterations

    def combine(
        self, weights: Weights, updates: Sequence[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights moved to the geometric median."""
        near, products = finite_changes(update_matrix.products(updates, weights))
        distances = update_matrix.from_mixture(products, np.zeros(len(near)))
        least, total = max(self._nu, float(np.median(distances))), math.inf
        for _ in range(self._iterations):
            shares = 1 / np.maximum(least, distances)
            shares /= shares.sum()
            distances = update_matrix.from_mixture(products, shares)
            least, last, total = self._nu, total, float(distances.sum())
            if last - total <= _TOLERANCE * total:
                break
        step = update_matrix.mixture([updates[i] for i in near], weights, shares)
        return moved_by(weights, updates, step), state
