"""Bulyan: a trimmed mean of the parties that Krum chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions import update_matrix
from fusion_nb.algorithms.fusions.krum import krum_scores
from fusion_nb.algorithms.fusions.robust import RobustFusion
from fusion_nb.core.types import Requirements, Update, Weights


class Bulyan(RobustFusion):
    """Choose parties by krum, then average, of each number, those nearest to the median.

    It chooses n - 2f parties of n, one after the other, and averages n - 4f of these numbers.

    These are n - 4f of the n - 2f. It tolerates f hostile parties of n, which must be at least 4f +
    3, and unlike krum it lets none of them move single numbers far. A score is over as many nearest
    as krum has among those that are left, and at least one.

    Source: El Mhamdi, Guerraoui, Rouault, "The Hidden Vulnerability of Distributed Learning in
    Byzantium", ICML 2018.
    """

    name = "bulyan"

    def __init__(
        self,
        *,
        f: Annotated[int, Field(description="hostile parties that it tolerates", ge=0)] = 1,
    ) -> None:
        self._f = f
        self.requires = Requirements(min_updates=4 * f + 3)

    def combine(
        self, weights: Weights, updates: Sequence[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the means of the numbers around the median of the chosen parties."""
        squares = update_matrix.between(update_matrix.products(updates, weights))
        left = list(range(len(updates)))
        chosen: list[int] = []
        while len(chosen) < len(updates) - 2 * self._f:
            scores = krum_scores(squares[np.ix_(left, left)], self._f)
            chosen.append(left.pop(int(np.argmin(scores))))
        kept = len(chosen) - 2 * self._f

        def around_median(block: np.ndarray) -> np.ndarray:
            ordered = np.sort(block, axis=0)
            distances = np.abs(ordered - np.median(block, axis=0))
            nearest = np.argsort(distances, axis=0, kind="stable")[:kept]
            return np.asarray(np.take_along_axis(ordered, nearest, axis=0).mean(axis=0))

        chosen_updates = [updates[i] for i in sorted(chosen)]
        return update_matrix.each_column(chosen_updates, around_median), state
