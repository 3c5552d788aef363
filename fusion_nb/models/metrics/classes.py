"""Metrics of predicted classes, from the rows of each class, predicted and right."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from fusion_nb.core.protocols.metric import LabelsKind, Metric, MetricTask, Sums
from fusion_nb.errors import OptionError, nearest
from fusion_nb.models.metrics.names import no_class, of_classes, second_class_note

#: The ways to average over classes: without one, each class has a number of its own.
AVERAGES = ("macro", "micro", "weighted", "binary", "none")


class Accuracy(Metric):
    """The share of rows whose most probable class is right."""

    kinds: ClassVar[tuple[LabelsKind, ...]] = ("classes", "flags")

    def sums(self, labels: np.ndarray, predictions: np.ndarray, task: MetricTask) -> Sums:
        """Return the right labels and all labels."""
        return right(chosen(predictions, task) == labels)

    def values(self, sums: Sums, task: MetricTask) -> Sequence[float]:
        """Return the share."""
        return [ratio(sums["right"], sums["count"])]


class TopK(Metric):
    """The share of rows whose class is among the k most probable."""

    def __init__(
        self, *, k: Annotated[int, Field(ge=1, description="classes that may hold it")] = 5
    ) -> None:
        self._k = k

    def names(self, name: str, task: MetricTask) -> tuple[str, ...]:
        """Return `top_5`."""
        return (f"top_{self._k}",)

    def problem(self, task: MetricTask) -> str:
        """Return why there are too few classes, or ""."""
        if self._k < task.num:
            return ""
        return f"the k = {self._k} most probable of {task.num} classes are all of them"

    def sums(self, labels: np.ndarray, predictions: np.ndarray, task: MetricTask) -> Sums:
        """Return the right rows and all rows."""
        highest = np.argsort(predictions, axis=1, kind="stable")[:, -self._k :]
        return right((highest == labels[:, None]).any(1))

    def values(self, sums: Sums, task: MetricTask) -> Sequence[float]:
        """Return the share."""
        return [ratio(sums["right"], sums["count"])]


class BalancedAccuracy(Metric):
    """The mean over classes of the share of a class's rows that are found."""

    def sums(self, labels: np.ndarray, predictions: np.ndarray, task: MetricTask) -> Sums:
        """Return the rows of each class."""
        return by_class(labels, predictions, task)

    def values(self, sums: Sums, task: MetricTask) -> Sequence[float]:
        """Return the mean over the classes that have a row."""
        present = sums["true"] > 0
        if not present.any():
            return [math.nan]
        return [float((sums["right"][present] / sums["true"][present]).mean())]


class _Averaged(Metric):
    """A metric of each class, and its average."""

    kinds: ClassVar[tuple[LabelsKind, ...]] = ("classes", "flags")

    def __init__(
        self,
        *,
        average: Annotated[
            str, Field(description="over classes: macro, micro, weighted, binary or none")
        ] = "macro",
        of: Annotated[str, Field(description="class that is measured, in place of a mean")] = "",
    ) -> None:
        if average not in AVERAGES:
            raise OptionError(
                f"average={average} is not allowed",
                f"{nearest(average, AVERAGES)}give {', '.join(AVERAGES)}",
            )
        self._average, self._of = average, of

    def names(self, name: str, task: MetricTask) -> tuple[str, ...]:
        """Return `f1`, `f1_micro`, or one name for each class."""
        if self._of:
            return of_classes(name, (self._of,))
        if self._average == "none":
            return of_classes(name, task.names)
        return (name if self._average == "macro" else f"{name}_{self._average}",)

    def problem(self, task: MetricTask) -> str:
        """Return why there is no such class, or no class of yes, or ""."""
        if self._of:
            return no_class(self._of, task.names)
        if self._average == "binary" and (task.kind != "classes" or task.num != 2):
            return f"average=binary is for two classes, and there are {task.num}"
        return ""

    def sums(self, labels: np.ndarray, predictions: np.ndarray, task: MetricTask) -> Sums:
        """Return the rows of each class."""
        return by_class(labels, predictions, task)

    def values(self, sums: Sums, task: MetricTask) -> Sequence[float]:
        """Return the number of all classes, or those of each."""
        above, below = self._shares(sums)
        true = sums["true"]
        # As scikit-learn has it: classes that are neither labels nor predictions don't count.
        present = (true + sums["predicted"]) > 0
        if self._of:
            place = task.names.index(self._of)
            return [ratio(above[place], below[place])]
        each = np.divide(above, below, out=np.zeros(len(true)), where=below > 0)
        match self._average:
            case "none":
                return [ratio(*pair) for pair in zip(above, below, strict=True)]
            case "micro":
                return [ratio(above.sum(), below.sum())]
            case "binary":
                return [float(each[1]) if present[1] else math.nan]
            case "weighted":
                return [ratio((each * true).sum(), true.sum())]
            case _:
                counts = present if task.kind == "classes" else np.ones_like(present)
                return [float(each[counts].mean()) if present.any() else math.nan]

    def notes(self, name: str, task: MetricTask) -> list[str]:
        """Return which of two classes it is about, where it is not plain."""
        is_plain = self._of or self._average != "binary"
        return [] if is_plain else second_class_note(f"{name}_binary", task.names)

    @abstractmethod
    def _shares(self, sums: Sums) -> tuple[np.ndarray, np.ndarray]:
        """Return, of each class, the two numbers whose ratio it is."""


class Precision(_Averaged):
    """The share of the rows predicted as a class that are of it, averaged over classes."""

    def _shares(self, sums: Sums) -> tuple[np.ndarray, np.ndarray]:
        return sums["right"], sums["predicted"]


class Recall(_Averaged):
    """The share of the rows of a class that are predicted as it, averaged over classes."""

    def _shares(self, sums: Sums) -> tuple[np.ndarray, np.ndarray]:
        return sums["right"], sums["true"]


class F1(_Averaged):
    """The harmonic mean of a class's precision and recall, averaged over classes."""

    def _shares(self, sums: Sums) -> tuple[np.ndarray, np.ndarray]:
        return 2 * sums["right"], sums["true"] + sums["predicted"]


def chosen(predictions: np.ndarray, task: MetricTask) -> np.ndarray:
    """Return the predicted classes, or the predicted flags."""
    if task.kind == "flags":
        return (predictions > 0.5).astype(np.int64)
    return np.asarray(predictions.argmax(1))


def by_class(labels: np.ndarray, predictions: np.ndarray, task: MetricTask) -> Sums:
    """Return the rows of each class, those that are predicted as it, and those that are both."""
    found = chosen(predictions, task)
    if task.kind == "flags":
        parts = {"true": labels, "predicted": found, "right": labels * found}
        return {name: part.sum(0, dtype=np.float64) for name, part in parts.items()}
    counted = {"true": labels, "predicted": found, "right": labels[found == labels]}
    return {
        name: np.bincount(part, minlength=task.num).astype(np.float64)
        for name, part in counted.items()
    }


def right(is_right: np.ndarray) -> Sums:
    """Return how many are right, of how many."""
    return {"right": np.array(is_right.sum(), float), "count": np.array(is_right.size, float)}


def ratio(above: np.ndarray | float, below: np.ndarray | float) -> float:
    """Return a ratio, NaN of nothing."""
    return float(above) / float(below) if below else math.nan
