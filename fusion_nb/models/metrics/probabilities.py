"""Metrics of predicted probabilities, from sums of one number for each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from fusion_nb.core.protocols.metric import LabelsKind, Metric, MetricTask, Sums
from fusion_nb.models.metrics.classes import ratio

#: Probabilities of 0 count as this, the step of single precision, so that no logarithm is infinite.
_LEAST = float(np.finfo(np.float32).eps)


class LogLoss(Metric):
    """The mean of minus the logarithm of the probability of the right class."""

    higher_is_better = False

    def sums(self, labels: np.ndarray, predictions: np.ndarray, task: MetricTask) -> Sums:
        """Return the sum over the rows."""
        of_label = predictions[np.arange(len(labels)), labels]
        logs = np.log(np.clip(of_label, _LEAST, 1.0))
        return {"sum": np.array(-logs.sum()), "count": np.array(len(labels), float)}

    def values(self, sums: Sums, task: MetricTask) -> Sequence[float]:
        """Return the mean."""
        return [ratio(sums["sum"], sums["count"])]


class Perplexity(LogLoss):
    """The number of equally probable classes that are as uncertain: e to the power of log_loss."""

    def values(self, sums: Sums, task: MetricTask) -> Sequence[float]:
        """Return the power of the mean."""
        return [math.exp(ratio(sums["sum"], sums["count"]))]


class Brier(Metric):
    """The mean squared distance of the probabilities from 1 for the right class and 0 for others.

    Of two classes it is that of one of them, as scikit-learn has it.
    """

    kinds: ClassVar[tuple[LabelsKind, ...]] = ("classes",)
    higher_is_better = False

    def sums(self, labels: np.ndarray, predictions: np.ndarray, task: MetricTask) -> Sums:
        """Return the sum over the rows."""
        distances = ((predictions - np.eye(task.num)[labels]) ** 2).sum(1)
        half = 2 if task.num == 2 else 1
        return {"sum": np.array(distances.sum() / half), "count": np.array(len(labels), float)}

    def values(self, sums: Sums, task: MetricTask) -> Sequence[float]:
        """Return the mean."""
        return [ratio(sums["sum"], sums["count"])]
