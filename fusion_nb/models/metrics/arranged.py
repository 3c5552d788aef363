"""Labels and predictions of any model in the one form that metrics take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fusion_nb.core.protocols.metric import MetricTask
from fusion_nb.core.schema import LabelSchema
from fusion_nb.errors import OptionError, option


@dataclass(frozen=True)
class Arrangement:
    """How the labels and the predictions of a model are brought into the form of a task.

    schema:     of the labels;  class_axis: of predictions
    ignored:    the label of places that don't count, or None
    values:     the class numbers in the order of predictions, where these are not 0, 1, ...: an
                estimator predicts the classes that there are, such as -1 and 1
    """

    task: MetricTask
    schema: LabelSchema
    class_axis: int = 1
    ignored: int | None = None
    values: tuple[int, ...] = ()

    @classmethod
    def find(
        cls,
        task: str,
        schema: LabelSchema,
        predicted: np.ndarray,
        class_axis: int,
        ignored: int | None,
    ) -> Arrangement:
        """Return the arrangement of a model's task and the agreed labels.

        task: classes, binary or numbers;  predicted: predictions for a few rows
        Raises OptionError for labels that metrics can't be given.
        """
        if schema.kind == "none":
            raise OptionError(
                f"{option('metrics')}: the labels are not one array, which metrics need",
                "leave it out",
            )
        if task == "classes" and schema.kind == "shares":
            raise OptionError(
                f"{option('metrics')}: the labels are shares of classes, and metrics need one "
                "class for each row",
                "leave it out, or give class numbers",
            )
        if task == "classes" and not schema.one_hot and schema.kind == "flags" and schema.shape:
            num = predicted.shape[class_axis]
            if schema.shape[-1] == num or schema.shape[0] == num:
                raise OptionError(
                    f"{option('metrics')}: a row's labels are several yes or no, and the loss "
                    "compares shares of classes",
                    f"leave it out, or name the loss {option('loss', 'bce_logits')}",
                )
        width = predicted.shape[class_axis] if predicted.ndim > 1 else 1
        if task == "binary" and not schema.shape and width > 1:  # a yes or no for each class
            task = "classes"
        values: tuple[int, ...] = ()
        if task == "classes" and ignored is None:
            values = _other_numbers(schema, predicted.shape[class_axis])
        made = _task(task, schema, predicted, class_axis, tuple(map(str, values)))
        return cls(made, schema, class_axis, ignored, values)

    def of(self, labels: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and predictions in the form of the task, without ignored places."""
        y = self.schema.numbered(np.asarray(labels))
        predictions = np.asarray(predictions, dtype=np.float64)
        match self.task.kind:
            case "classes":
                return self._classes(y, predictions)
            case "flags":
                flags = y.reshape(len(y), -1) / self.schema.scale > 0.5
                return flags.astype(np.int64), predictions.reshape(len(predictions), -1)
            case _:
                numbers = y.astype(np.float64).reshape(len(y), -1) / self.schema.scale
                return numbers, predictions.reshape(len(predictions), -1)

    def positions(self, labels: np.ndarray) -> np.ndarray:
        """Return the places of class numbers among predictions."""
        return np.searchsorted(self.values, labels) if self.values else labels

    def rows(self, labels: np.ndarray) -> np.ndarray:
        """Return the row of each label that `of` returns: places of masks are several of a row."""
        y = self.schema.numbered(np.asarray(labels))
        if self.task.kind != "classes":
            return np.arange(len(y))
        rows = np.arange(len(y)).repeat(max(1, y[:1].size))
        counts = not self.task.is_yes_no and self.ignored is not None
        return rows[y.reshape(-1) != self.ignored] if counts else rows

    def _classes(self, y: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = y.reshape(-1)
        if self.task.is_yes_no:
            yes = predictions.reshape(-1)
            labels = (y / self.schema.scale > 0.5).astype(np.int64)
            return labels, np.stack([1 - yes, yes], axis=1)
        labels = self.positions(y.astype(np.int64))
        scores = np.moveaxis(predictions, self.class_axis, -1).reshape(-1, self.task.num)
        if self.ignored is None:
            return labels, scores
        counted = labels != self.ignored
        return labels[counted], scores[counted]


def _other_numbers(schema: LabelSchema, num: int) -> tuple[int, ...]:
    """Return the numbers of all classes where they are as many as predictions, and not 0, 1, ..."""
    values = schema.values or ()
    is_other = len(values) == num and values != tuple(range(num))
    return values if is_other and schema.kind == "classes" and not schema.classes else ()


def _task(
    task: str,
    schema: LabelSchema,
    predicted: np.ndarray,
    class_axis: int,
    numbers: tuple[str, ...] = (),
) -> MetricTask:
    names = schema.classes or (("False", "True") if schema.are_bools else numbers)
    if task == "classes":
        num = predicted.shape[class_axis]
        return MetricTask("classes", num, _named(names, num))
    if task == "binary" and schema.are_whole:
        is_several = len(schema.shape) == 1 and schema.shape[0] > 1
        if is_several:
            return MetricTask("flags", schema.shape[0], _named((), schema.shape[0]))
        return MetricTask("classes", 2, _named(names, 2), is_yes_no=True)
    low, high = schema.scaled
    num = int(np.prod(predicted.shape[1:], dtype=int))
    return MetricTask("numbers", num, shift=(low + high) / 2)


def _named(names: tuple[str, ...], num: int) -> tuple[str, ...]:
    """Return names of all classes: the number of one that has no name."""
    return tuple(names[i] if i < len(names) else str(i) for i in range(num))
