"""Metrics of predicted numbers, from sums of errors and of labels around one shift."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fusion_nb.core.protocols.metric import LabelsKind, Metric, MetricTask, Sums


class _OfErrors(Metric):
    """A metric of the errors of each number of a row, averaged over these numbers."""

    kinds: ClassVar[tuple[LabelsKind, ...]] = ("numbers",)
    higher_is_better = False

    def sums(self, labels: np.ndarray, predictions: np.ndarray, task: MetricTask) -> Sums:
        """Return sums over the rows, one for each number of a row."""
        errors, moved = predictions - labels, labels - task.shift
        return {
            "count": np.array(len(labels), float),
            "absolute": np.abs(errors).sum(0),
            "squared": (errors**2).sum(0),
            "labels": moved.sum(0),
            "squared_labels": (moved**2).sum(0),
        }

    def values(self, sums: Sums, task: MetricTask) -> Sequence[float]:
        """Return the mean over the numbers of a row."""
        return [self._value(sums) if sums["count"] else math.nan]

    @abstractmethod
    def _value(self, sums: Sums) -> float:
        """Return the mean over the numbers of a row, of one row at least."""


class MAE(_OfErrors):
    """The mean absolute error."""

    def _value(self, sums: Sums) -> float:
        return float((sums["absolute"] / sums["count"]).mean())


class MSE(_OfErrors):
    """The mean squared error."""

    def _value(self, sums: Sums) -> float:
        return float((sums["squared"] / sums["count"]).mean())


class RMSE(_OfErrors):
    """The root of the mean squared error."""

    def _value(self, sums: Sums) -> float:
        return float(np.sqrt(sums["squared"] / sums["count"]).mean())


class R2(_OfErrors):
    """The share of the labels' variance that is predicted: 0 for always predicting their mean.

    Numbers of a row that are the same in all rows have no variance, and don't count.
    """

    higher_is_better = True

    def _value(self, sums: Sums) -> float:
        total = sums["squared_labels"] - sums["labels"] ** 2 / sums["count"]
        # A constant leaves rounding errors of its square, and no variance.
        varies = total > 1e-12 * np.maximum(sums["squared_labels"], 1e-300)
        if not varies.any():
            return math.nan
        return float((1 - sums["squared"][varies] / total[varies]).mean())
