"""Rows and labels of any origin as arrays of numbers, or refused with the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fusion_nb.core import documents
from fusion_nb.core import rows as rows_of
from fusion_nb.errors import DataError, private

#: Rows and labels as two arrays of one length.
Arrays = tuple[np.ndarray, np.ndarray]


class MapStyle(Protocol):
    """A data set that gives one row `(x, y)` at a time, such as a torch `Dataset`."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __getitem__(self, position: int, /) -> Any:
        """Return the row `(x, y)` at a position."""
        ...


#: The rows of a party, of a pool or of a test set.
DataSet = Arrays | MapStyle


@dataclass(frozen=True)
class Unlabelled:
    """A data set whose labels are still in the user's form.

    where: how messages call it;  is_trained_on: False for test rows
    """

    where: str
    rows: DataSet
    is_trained_on: bool


@dataclass(frozen=True)
class Labelled:
    """Data sets with labels in one form for all of them, which is that of `core.rows.decode`.

    rows, labels: one item for each data set;  classes: names of the classes if labels were text
    """

    rows: tuple[DataSet, ...]
    labels: tuple[np.ndarray, ...]
    classes: tuple[str, ...]


def label_all(parts: Sequence[Unlabelled]) -> Labelled:
    """Decode the labels of all data sets that belong together.

    Their form is decided over all of them: a part may lack a class, or have rows that look one-hot
    by chance. Raises DataError where they differ in form.
    """
    stored = [_stored_labels(part) for part in parts]
    is_text = _check_one_form(parts, stored)
    classes: tuple[str, ...] = ()
    if is_text:
        stored, classes = _number_classes(parts, stored)
    together = rows_of.decode(np.concatenate(stored))
    labels = np.split(together, np.cumsum([len(y) for y in stored])[:-1])
    rows = tuple(
        (part.rows[0], y) if isinstance(part.rows, tuple) else part.rows
        for part, y in zip(parts, labels, strict=True)
    )
    return Labelled(rows, tuple(labels), classes)


def _stored_labels(part: Unlabelled) -> np.ndarray:
    """Return the labels of a data set. Raises DataError, which says whose row can't be read."""
    try:
        return rows_of.stored_labels(part.rows)
    except DataError as error:
        raise error.prefixed(f"{part.where}: ") from error.__cause__


def _check_one_form(parts: Sequence[Unlabelled], stored: Sequence[np.ndarray]) -> bool:
    """Return whether all labels are text. Raises DataError where some are and others are not."""
    are_text = [_is_text(y, part.where) for y, part in zip(stored, parts, strict=True)]
    for part, y, is_text in zip(parts, stored, are_text, strict=True):
        if is_text != are_text[0] or y.shape[1:] != stored[0].shape[1:]:
            raise DataError(
                f"the labels of {part.where} are of another form than those of {parts[0].where}",
                "give all one form",
            )
        if not is_text and not documents.are_unlabelled(y):
            _check_numbers(y, f"{part.where}: y")
    return are_text[0]


def _number_classes(
    parts: Sequence[Unlabelled], stored: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Return labels of text as numbers, and the sorted names of the classes of training rows."""
    names = [[y.decode() if isinstance(y, bytes) else str(y) for y in column] for column in stored]
    trained_on = (column for column, part in zip(names, parts, strict=True) if part.is_trained_on)
    classes = tuple(sorted({name for column in trained_on for name in column}))
    number = {name: i for i, name in enumerate(classes)}
    for part, column in zip(parts, names, strict=True):
        if unknown := set(column) - number.keys():
            raise DataError(
                f"{part.where}: the label {private(repr(min(unknown)))} is in no training row",
                "check the labels",
            )
    numbers = [np.array([number[name] for name in column], dtype=np.int64) for column in names]
    return numbers, classes


def to_arrays(rows: Any, where: str) -> DataSet:
    """Return (x, y) as arrays of one length, x as numbers; a Dataset is returned as it is.

    where: how messages call the rows. Raises DataError for rows that are empty, sparse, of
    different lengths or not finite real numbers.
    """
    if hasattr(rows, "tensors") and len(rows.tensors) == 2:
        rows = tuple(rows.tensors)  # torch's TensorDataset: its arrays are faster to slice
    if isinstance(rows, tuple) and any(hasattr(column, "toarray") for column in rows):
        raise DataError(f"{where}: x is a sparse matrix", "use its toarray(), or fewer columns")
    if not rows_of.size(rows):
        raise DataError(f"{where}: there are no rows", "give at least two")
    if not isinstance(rows, tuple):
        data: MapStyle = rows
        return data
    x, y = column(rows[0], f"{where}, x"), column(rows[1], f"{where}, y")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise DataError(
            f"{where}: {np.size(x, 0) if x.ndim else 'no'} rows but {y.size} labels",
            "give one label for each",
        )
    if not documents.are((x, y)):
        _check_numbers(x, f"{where}: x")
    return x, y


def column(values: Any, where: str) -> np.ndarray:
    """Return a list, tensor, Series or array as a numpy array of native byte order."""
    if hasattr(values, "detach"):
        # A tensor, perhaps one that records gradients or lies on another device.
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # numpy has no such type
            values = values.float()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(
            f"{where}: rows are of different lengths", "pad them to one shape first"
        ) from error
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    # In one piece and writable, as torch asks of an array that it shares memory with.
    return array if array.flags.c_contiguous and array.flags.writeable else array.copy()


def _is_text(y: np.ndarray, where: str) -> bool:
    if y.dtype == object and any(isinstance(word, str) for word in y):
        if missing := sum(not isinstance(word, str) for word in y):
            raise DataError(
                f"{where}: {missing} labels are missing", "fill or drop those rows first"
            )
        return True
    return y.dtype.kind in "UST"


def _check_numbers(values: np.ndarray, where: str) -> None:
    is_real = np.issubdtype(values.dtype, np.number) and not np.issubdtype(
        values.dtype, np.complexfloating
    )
    if not (is_real or values.dtype == np.bool_):
        raise DataError(
            f"{where} holds {values.dtype}, not real numbers", "turn it into numbers first"
        )
    if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise DataError(
            f"{where} holds {bad} NaN or infinite values", "fill or drop those rows first"
        )
