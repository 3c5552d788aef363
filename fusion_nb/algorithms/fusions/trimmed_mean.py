"""The coordinate-wise trimmed mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.robust import RobustFusion, counted
from fusion_nb.algorithms.fusions.update_matrix import each_column
from fusion_nb.core.types import Requirements, Update, Weights

#: How far beta times the parties may fall short of a whole number because 0.1 is none in binary.
_ROUNDING = 1e-9


class TrimmedMean(RobustFusion):
    """Average each number without the largest and the smallest values, a share beta of each.

    The number cut off at each end is beta times the parties, rounded down. It tolerates that many
    hostile parties, so it needs enough updates to cut off one. With beta 0 it is iter_avg.

    Source: Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards
    Optimal Statistical Rates", ICML 2018 (Option II).
    """

    name = "trimmed_mean"
    hint = "a larger beta cuts more off"

    def __init__(
        self,
        *,
        beta: Annotated[
            float,
            Field(description="share that is cut off at each end; 0 is the mean", ge=0, lt=0.5),
        ] = 0.25,
    ) -> None:
        self._beta = beta
        self.requires = Requirements(min_updates=math.ceil((1 - _ROUNDING) / beta) if beta else 1)

    def combine(
        self, weights: Weights, updates: Sequence[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the means of the middle."""
        count = len(updates)
        # At least one is left.
        cut = min(int(self._beta * count + _ROUNDING), (count - 1) // 2)

        def middle(block: np.ndarray) -> np.ndarray:
            return np.asarray(np.sort(block, axis=0)[cut : len(block) - cut].mean(axis=0))

        return each_column(updates, middle), counted(state, 2 * cut)
