"""Rules that choose among parties by how near their weights are to those of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions import update_matrix as table
from fusion_nb.algorithms.fusions.robust_means import Robust
from fusion_nb.core.arithmetic import weighted_mean
from fusion_nb.core.types import Update, Weights


class MultiKrum(Robust):
    """Average the m parties that are nearest to others: those with the best scores.

    A score is the sum of the squared distances to the n - f - 2 nearest others, and the least is
    best. It stands f hostile parties of n, which must be at least 2f + 3. With m the number of
    parties it is iter_avg.

    Source: Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent", NeurIPS 2017 (Multi-Krum; m = n - f, as in its experiments, unless
    told otherwise).
    """

    name = "multikrum"

    def __init__(
        self,
        *,
        f: Annotated[int, Field(description="hostile parties that it is to stand", ge=0)] = 1,
        m: Annotated[
            int, Field(description="parties that are averaged; 0: all that answered but f", ge=0)
        ] = 0,
    ) -> None:
        self._f, self._m = f, m
        self.min_updates = max(2 * f + 3, m)

    def rule(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return the mean of the parties with the best scores."""
        scores = _scores(table.between(table.products(updates, weights)), self._f)
        best = np.argsort(scores, kind="stable")[: self._m or len(updates) - self._f]
        return weighted_mean([updates[i] for i in sorted(best)], lambda update: 1.0), state


class Krum(MultiKrum):
    """Take the weights of one party: that with the least sum of squared distances to its n - f - 2
    nearest others.

    It stands f hostile parties of n, which must be at least 2f + 3. Of equals, the first by name is
    taken. What the other parties learned is lost, which costs much where their rows are unlike.

    Source: Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent", NeurIPS 2017.
    """

    name = "krum"

    def __init__(
        self,
        *,
        f: Annotated[int, Field(description="hostile parties that it is to stand", ge=0)] = 1,
    ) -> None:
        super().__init__(f=f, m=1)


class Bulyan(Robust):
    """Choose n - 2f parties by krum, one after the other, then average, of each number, those
    nearest to the median.

    These are n - 4f of the n - 2f. It stands f hostile parties of n, which must be at least 4f + 3,
    and other than krum it lets none of them move single numbers far. A score is over as many
    nearest as krum has among those that are left, and at least one.

    Source: El Mhamdi, Guerraoui, Rouault, "The Hidden Vulnerability of Distributed Learning in
    Byzantium", ICML 2018.
    """

    name = "bulyan"

    def __init__(
        self,
        *,
        f: Annotated[int, Field(description="hostile parties that it is to stand", ge=0)] = 1,
    ) -> None:
        self._f = f
        self.min_updates = 4 * f + 3

    def rule(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return the means of the numbers around the median of the chosen parties."""
        distances = table.between(table.products(updates, weights))
        left = list(range(len(updates)))
        chosen: list[int] = []
        while len(chosen) < len(updates) - 2 * self._f:
            scores = _scores(distances[np.ix_(left, left)], self._f)
            chosen.append(left.pop(int(np.argmin(scores))))
        kept = len(chosen) - 2 * self._f

        def around_median(block: np.ndarray) -> np.ndarray:
            ordered = np.sort(block, axis=0)
            nearest = np.argsort(np.abs(ordered - np.median(block, axis=0)), axis=0, kind="stable")[
                :kept
            ]
            return np.asarray(np.take_along_axis(ordered, nearest, axis=0).mean(axis=0))

        return table.each_column([updates[i] for i in sorted(chosen)], around_median), state


def _scores(distances: np.ndarray, f: int) -> np.ndarray:
    """Return every party's sum of squared distances to the nearest others: all but f and one
    more.
    """
    count = max(1, len(distances) - f - 2)
    others = distances + np.diag(np.full(len(distances), np.inf))
    return np.asarray(np.sort(others, axis=1)[:, :count].sum(axis=1))
