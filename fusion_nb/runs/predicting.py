"""Predictions of a run's model for rows that the user gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core.schema import DataSchema, LabelSchema
from fusion_nb.core.types import Weights
from fusion_nb.data import arrays, frames, tables
from fusion_nb.data.agreement import bring_rows
from fusion_nb.data.tabular import new_rows
from fusion_nb.errors import DataError, ModelError, OptionError, nearest, option
from fusion_nb.models.base import Model
from fusion_nb.models.predicting import PredictsRows

if TYPE_CHECKING:
    import pandas as pd

#: How messages call arrays of rows, and tables.
_WHERE, _FRAME = "the rows", "the frame"


def predict(
    model: Model, weights: Weights, schema: DataSchema, rows: Any, *, scores: bool
) -> np.ndarray | pd.DataFrame:
    """Return the predictions of a model with these weights, in the user's own terms.

    rows:   a frame with the columns of the training, or arrays in the form of its rows
    scores: return a DataFrame with the probability of each class, or with the numbers
    Raises DataError for rows of another form, ModelError for a model that makes no predictions.
    """
    if not isinstance(model, PredictsRows):
        raise ModelError(
            f"a {model.kind} makes no predictions for rows", "use run.model, in its own way"
        )
    x = _inputs(schema, rows, model.takes_missing)
    other: Any = model.clone()
    other.set_weights(weights)
    if rows_of.size(x if _gives_rows(x) else (x, ())) == 0:
        raise DataError(f"{_WHERE} are none: there is nothing to predict", "give at least one row")
    data = x if _gives_rows(x) else (x, _no_labels(schema.labels, rows_of.size((x, ()))))
    found, task = np.asarray(other.predict(data)), other.task
    if scores:
        return _scores(found, task, schema.labels, other.class_axis, rows)
    return _labels(found, task, schema.labels, other.class_axis)


def _gives_rows(x: Any) -> bool:
    return not isinstance(x, np.ndarray | dict | tuple)


def _no_labels(labels: LabelSchema, count: int) -> np.ndarray:
    """Return labels of the right form that stand where none are known."""
    return np.zeros((count, *labels.shape), labels.dtype or np.float32)


def _inputs(schema: DataSchema, rows: Any, keeps_missing: bool) -> Any:
    """Return rows in the form that the model was trained on. Raises DataError for any other.

    keeps_missing: numbers may be missing, and are NaN then
    """
    if schema.table is not None:
        return new_rows.encode(schema.table, rows, _FRAME)
    if schema.rows.kind == "structured":
        return _parts(schema, rows)
    if (frame := frames.to_pandas(rows)) is not None:
        x = _columns(schema.rows.columns, frame, keeps_missing)
    elif not hasattr(rows, "shape") and not isinstance(rows, list | tuple):
        if isinstance(rows, str | Mapping) or not hasattr(rows, "__getitem__"):
            raise DataError(
                f"{_WHERE} are {type(rows).__name__}",
                f"give an array of shape (rows, {', '.join(map(str, schema.rows.shape))}), or a "
                "data set of such rows",
            )
        return rows  # a data set that gives its rows (x, y) one at a time
    else:
        x = arrays.column(rows, _WHERE, keeps_missing=keeps_missing)
    if x.shape[1:] != schema.rows.shape:
        one = "; one row is given as x[None]" if x.shape == schema.rows.shape else ""
        raise DataError(
            f"{_WHERE} have the shape {x.shape}, and the model was trained on rows of shape "
            f"{schema.rows.shape}",
            f"give an array of shape (rows, {', '.join(map(str, schema.rows.shape))}){one}",
        )
    arrays.check_numbers(x, "the array of rows", keeps_missing=keeps_missing)
    dtype = schema.rows.dtype
    return bring_rows(schema, x.astype(dtype) if _keeps(x, dtype) else x, _WHERE)


def _keeps(x: np.ndarray, dtype: str) -> bool:
    """Return whether numbers can have the dtype of the training without another meaning."""
    return bool(dtype) and x.dtype.kind == "f" and np.dtype(dtype).kind == "f"


def _columns(names: Sequence[str], frame: Any, keeps_missing: bool) -> np.ndarray:
    """Return the columns of the training, which a frame may have in any order, among others."""
    if not names:
        return _numbers(frame, keeps_missing)
    frame = frames.with_text_names(frame, _FRAME)
    present = list(frame.columns)
    if lacking := [name for name in names if name not in present]:
        raise DataError(
            f"{_FRAME} has no column {', '.join(map(repr, lacking))}, which the model was trained "
            "on",
            f"{nearest(lacking[0], present)}it has: {', '.join(present)}",
        )
    return _numbers(frame[list(names)], keeps_missing)


def _numbers(frame: Any, keeps_missing: bool) -> np.ndarray:
    """Return a frame as an array. Raises DataError for columns that the model can't have seen."""
    try:
        return tables.numbers(frame, _FRAME, keeps_missing=keeps_missing)[0]
    except DataError as error:
        raise DataError(
            error.to_dict()["message"],
            "give the numbers that the model was trained on, without gaps: a run with "
            f"{option('tabular', 'auto')} takes text and fills gaps",
        ) from None


def _parts(schema: DataSchema, rows: Any) -> Any:
    """Return rows of several arrays. Raises DataError where they are not those of the training."""
    if not isinstance(rows, dict | tuple):
        return rows
    expected = schema.rows.columns
    given = [str(name) for name in (rows if isinstance(rows, dict) else range(len(rows)))]
    if {*given} != {*expected}:
        raise DataError(
            f"{_WHERE} have the inputs {', '.join(given)}, and the model was trained on "
            f"{', '.join(expected)}",
            "give all of them, and no labels",
        )
    named = dict(rows) if isinstance(rows, dict) else dict(enumerate(rows))
    found = {name: arrays.column(part, f"{_WHERE}, {name!r}") for name, part in named.items()}
    return found if isinstance(rows, dict) else tuple(found.values())


def _labels(found: np.ndarray, task: str, labels: LabelSchema, axis: int) -> np.ndarray:
    """Return the predicted labels as the user wrote them."""
    if task == "classes":
        names = np.array(_class_names(labels, found.shape[axis]))
        return np.asarray(names[found.argmax(axis)])
    if task == "binary":
        yes = (found > 0.5).astype(np.int64)
        yes = yes[:, 0] if yes.ndim == 2 and yes.shape[1] == 1 and not labels.shape else yes
        if labels.classes or labels.are_bools:
            return np.asarray(np.array(_class_names(labels, 2))[yes])
        return yes * int(labels.scale)
    found = found[:, 0] if found.ndim == 2 and found.shape[1] == 1 and not labels.shape else found
    return np.asarray(found if labels.scale == 1 else found * labels.scale)


def _class_names(labels: LabelSchema, count: int) -> list[Any]:
    """Return what each output stands for: the names of the classes, or their numbers."""
    if labels.classes and len(labels.classes) <= count:
        return [*labels.classes, *map(str, range(len(labels.classes), count))]
    if labels.are_bools and count == 2:
        return [False, True]
    if labels.values is not None and len(labels.values) == count:
        return list(labels.values)
    return list(range(count))


def _scores(
    found: np.ndarray, task: str, labels: LabelSchema, axis: int, rows: Any
) -> pd.DataFrame:
    """Return predictions as a DataFrame: a column for each class, or for each number."""
    import pandas as pd

    if found.ndim > 2:
        raise OptionError(
            "scores=True makes a table, and this model predicts several classes for each row",
            "leave it out, or use run.model",
        )
    table = found[:, None] if found.ndim == 1 else found
    names: Sequence[Any] = ["prediction"] if table.shape[1] == 1 else range(table.shape[1])
    if task == "classes":
        names = _class_names(labels, table.shape[1])
    elif task == "binary" and table.shape[1] == 1 and not labels.shape:
        table = np.concatenate([1 - table, table], axis=1)
        names = _class_names(labels, 2)
    elif task != "binary":
        table = table if labels.scale == 1 else table * labels.scale
    index = getattr(rows, "index", None) if hasattr(rows, "columns") else None
    return pd.DataFrame(table, columns=list(names), index=index)
