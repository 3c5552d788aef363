"""Rows and labels as arrays of numbers, for frameworks that take one row of numbers at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core.schema import DataSchema, LabelSchema
from fusion_nb.errors import ModelError, option


@dataclass(frozen=True)
class Task:
    """The task of a model, by the agreement about rows and labels.

    num_features: numbers of a row
    classes: the labels of all parties, as numbers, in order; empty for measurements
    names:   the same labels as the user wrote them
    shape:   of one label, for measurements
    columns: names of the features, or ()
    """

    num_features: int
    classes: np.ndarray
    names: np.ndarray
    shape: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def predicts_classes(self) -> bool:
        """Whether labels are classes, and not measurements."""
        return len(self.classes) > 0

    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """Return rows of zeros with labels of the right form, one of each class.

        A model that is fitted to them has all its attributes.
        """
        if not self.predicts_classes:
            return np.zeros((1, self.num_features)), np.zeros((1, *self.shape))
        return np.zeros((len(self.classes), self.num_features)), self.classes

    def one_hot(self, y: np.ndarray) -> np.ndarray:
        """Return for each row 1 in the column of its class, and 0 elsewhere."""
        return (np.asarray(y)[:, None] == self.classes).astype(np.float64)

    def positions(self, y: np.ndarray) -> np.ndarray:
        """Return the position of each label among the classes."""
        return np.searchsorted(self.classes, y)


@dataclass(frozen=True)
class Tabular:
    """How rows of a schema become arrays (rows, features), the same at every party.

    scale, label_scale: numbers are divided by them;  num_features: of one row
    notes: sentences for the user
    """

    num_features: int = 0
    scale: float = 1.0
    label_scale: float = 1.0
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: Any, schema: DataSchema, kind: str) -> Tabular:
        """Return it for the agreed schema.

        rows: a few of them. Raises ModelError for rows that are several arrays.
        """
        x = rows[0] if isinstance(rows, tuple) else rows[0][0]
        if isinstance(x, dict | tuple) or schema.rows.kind == "structured":
            raise ModelError(
                f"rows are several arrays, and a {kind} takes one row of numbers",
                "join them: np.concatenate([a, b], axis=1)",
            )
        shape = np.shape(x)[1:] if isinstance(rows, tuple) else np.shape(x)
        notes = [schema.rows.scale_note] if schema.rows.scale_note else []
        count = math.prod(shape)
        if len(shape) != 1:
            notes.append(f"rows: those of shape {tuple(shape)} are flattened to {count} numbers")
        return cls(count, schema.rows.scale, schema.labels.scale, tuple(notes))

    def arrays(self, data: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return rows as float64 (rows, features), and labels."""
        if isinstance(data, tuple):
            x, y = np.asarray(data[0]), np.asarray(data[1])
        else:
            x = np.stack([np.asarray(data[i][0]) for i in range(len(data))])
            y = rows_of.stored_labels(data)
        x = x.reshape(len(x), -1).astype(np.float64)
        if self.scale != 1:
            x = x / self.scale
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        return x, y / self.label_scale if self.label_scale != 1 else y


def task_of(
    schema: DataSchema,
    num_features: int,
    kind: str,
    *,
    wants_classes: bool | None,
    many_outputs: bool = False,
    regressor: str = "",
) -> Task:
    """Return the task of a model by the agreed schema.

    wants_classes: whether the model is a classifier; None where labels have no part in it
    many_outputs:  whether a label may hold several numbers
    regressor:     the nearest model for measurements, for the hint
    Raises ModelError where model and labels don't go together.
    """
    labels = schema.labels
    columns = schema.rows.columns if len(schema.rows.columns) == num_features else ()
    none = np.empty(0, np.int64)
    if wants_classes is None:
        return Task(num_features, none, none, (), columns)
    if not wants_classes:
        _check_measurements(labels, kind, many_outputs=many_outputs)
        return Task(num_features, none, none, labels.shape, columns)
    if labels.kind != "classes" or labels.shape or labels.values is None:
        found = "several numbers each" if labels.shape else "measurements"
        hint = f"use {regressor}" if regressor and not labels.shape else "give one class a row"
        raise ModelError(f"the labels are {found}, and a {kind} predicts one class", hint)
    classes = np.array(labels.values, np.int64)
    names = np.array(labels.classes) if labels.classes else classes
    if labels.classes:
        classes = np.arange(len(names))
    if len(classes) < 2:
        raise ModelError(
            f"all labels of all parties are {names[0]}, and a {kind} needs two classes",
            f"look at {option('label')}, or give rows of another class",
        )
    return Task(num_features, classes, names, (), columns)


def _check_measurements(labels: LabelSchema, kind: str, *, many_outputs: bool) -> None:
    if labels.classes:
        raise ModelError(
            f"the labels are names of classes, and a {kind} predicts numbers",
            "use a classifier, or give numbers",
        )
    if labels.shape and not many_outputs:
        raise ModelError(
            f"a label has the shape {labels.shape}, and a {kind} predicts one number",
            "give one number a row",
        )
    if len(labels.shape) > 1:
        raise ModelError(
            f"a label has the shape {labels.shape}, and a {kind} predicts a row of numbers",
            "flatten the labels",
        )


def named_weights(weights: Mapping[Any, float] | None, task: Task) -> dict[int, float] | None:
    """Return class weights by the numbers of classes, from those by the user's labels.

    Raises ModelError for a label that no party has.
    """
    if weights is None:
        return None
    numbers = dict(zip(task.names.tolist(), task.classes.tolist(), strict=True))
    if unknown := [name for name in weights if name not in numbers]:
        raise ModelError(
            f"class_weight names {unknown[0]!r}, and no party has such a label",
            f"the labels are: {', '.join(map(str, numbers))}",
        )
    return {numbers[name]: weight for name, weight in weights.items()}
