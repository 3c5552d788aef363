"""The contract of a metric: numbers that measure predictions, exact over several parties' rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

#: Named arrays that add up: those of two sets of rows together are their sums.
Sums = Mapping[str, np.ndarray]
#: The kinds of labels: one of several classes, several of yes and no, or numbers.
LabelsKind = Literal["classes", "flags", "numbers"]


@dataclass(frozen=True)
class MetricTask:
    """The form of labels and predictions that metrics are given.

    kind:     "classes": labels (rows,) of class numbers, and predictions (rows, classes) of
              probabilities; yes or no is two classes. "flags": labels (rows, flags) of 0 and 1, and
              predictions of the same shape, each the probability of 1. "numbers": both (rows,
              numbers). A row is a place where labels are masks.
    num:      classes, flags or numbers of a row
    names:    of the classes or flags, in order
    is_yes_no: two classes that are no and yes, of which the model predicts one number
    shift:    a number amid the labels, the same at every party, that sums are taken around
    """

    kind: LabelsKind
    num: int
    names: tuple[str, ...] = ()
    is_yes_no: bool = False
    shift: float = 0.0


class Metric(ABC):
    """Measures predictions by sums over rows, and makes numbers of the sums of all parties.

    Each party sends sums, which are added; so the numbers are those of all rows together.

    >>> class Misses(Metric):
    ...     '''The number of rows of class 1 that are taken for another.'''
    ...     higher_is_better = False
    ...     def sums(self, labels, predictions, task):
    ...         is_missed = (labels == 1) & (predictions.argmax(1) != 1)
    ...         return {"missed": np.array(is_missed.sum(), float)}
    ...     def values(self, sums, task):
    ...         return [float(sums["missed"])]
    >>> task, metric = MetricTask("classes", 2), Misses()
    >>> first = metric.sums(np.array([1, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]), task)
    >>> second = metric.sums(np.array([1]), np.array([[0.7, 0.3]]), task)
    >>> metric.values(metric.join([first, second], [1, 1], task), task)
    [2.0]
    """

    #: Whether a higher number is better.
    higher_is_better: ClassVar[bool] = True
    #: The kinds of labels that it serves.
    kinds: ClassVar[tuple[LabelsKind, ...]] = ("classes",)

    def names(self, name: str, task: MetricTask) -> tuple[str, ...]:
        """Return the names of its numbers in a history; `name` is that of the metric itself."""
        return (name,)

    def problem(self, task: MetricTask) -> str:
        """Return why it can't serve a task of one of its `kinds`, or ""."""
        return ""

    @abstractmethod
    def sums(self, labels: np.ndarray, predictions: np.ndarray, task: MetricTask) -> Sums:
        """Return the sums over some rows, as named arrays of numbers."""

    @abstractmethod
    def values(self, sums: Sums, task: MetricTask) -> Sequence[float]:
        """Return its numbers, NaN where the rows behind the sums allow none."""

    def join(self, parts: Sequence[Sums], weights: Sequence[float], task: MetricTask) -> Sums:
        """Return the sums over the rows of several parts; each row counts `weights` times."""
        first = parts[0]
        return {
            name: np.sum(
                [part[name] * weight for part, weight in zip(parts, weights, strict=True)], axis=0
            )
            for name in first
        }

    def error(self, sums: Sums, task: MetricTask) -> float:
        """Return the bound of the difference from the exact numbers; 0 where there is none."""
        return 0.0

    def notes(self, name: str, task: MetricTask) -> list[str]:
        """Return sentences for the user, such as what parties send for it."""
        return []
