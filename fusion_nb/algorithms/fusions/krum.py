"""Krum: the weights of the one party that is nearest to others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions import update_matrix
from fusion_nb.algorithms.fusions.robust import RobustFusion
from fusion_nb.core.arithmetic import weighted_mean
from fusion_nb.core.types import Requirements, Update, Weights


class Krum(RobustFusion):
    """Take the weights of one party: the one that is nearest to others.

    It has the least sum of squared distances to its n - f - 2 nearest others.

    It tolerates f hostile parties of n, which must be at least 2f + 3. Of equals, the first by name
    is taken. The training of all other parties is lost, which costs much where their rows are
    unlike.

    Source: Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent", NeurIPS 2017.
    """

    name = "krum"

    def __init__(
        self,
        *,
        f: Annotated[int, Field(description="hostile parties that it tolerates", ge=0)] = 1,
    ) -> None:
        self._f = f
        self.requires = Requirements(min_updates=2 * f + 3)

    def combine(
        self, weights: Weights, updates: Sequence[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights of the party with the best score."""
        return mean_of_best(weights, updates, self._f, 1), state


def mean_of_best(weights: Weights, updates: Sequence[Update], f: int, count: int) -> Weights:
    """Return the mean of the given number of updates with the best scores."""
    squares = update_matrix.between(update_matrix.products(updates, weights))
    best = np.argsort(krum_scores(squares, f), kind="stable")[:count]
    return weighted_mean([updates[i] for i in sorted(best)], lambda update: 1.0)


def krum_scores(squares: np.ndarray, f: int) -> np.ndarray:
    """Return every party's sum of squared distances to its n - f - 2 nearest others.

    The sum is over at least one other; the least is best.
    """
    count = max(1, len(squares) - f - 2)
    others = squares + np.diag(np.full(len(squares), np.inf))
    return np.asarray(np.sort(others, axis=1)[:, :count].sum(axis=1))
