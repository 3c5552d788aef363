"""The coordinate-wise median."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fusion_nb.algorithms.fusions.robust import RobustFusion, column_median
from fusion_nb.algorithms.fusions.update_matrix import each_column
from fusion_nb.core.types import Update, Weights


class Median(RobustFusion):
    """Take the median of each number.

    Of an even number of parties it is the mean of the two in the middle.

    Source: Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards
    Optimal Statistical Rates", ICML 2018 (Option I).
    """

    name = "median"

    def combine(
        self, weights: Weights, updates: Sequence[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the medians."""
        return each_column(updates, column_median), state
