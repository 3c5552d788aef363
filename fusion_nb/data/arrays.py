"""Rows and labels of any origin as arrays of numbers, or refused with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fusion_nb.core import documents
from fusion_nb.core import rows as rows_of
from fusion_nb.core.facts import DOCUMENTS, Facts
from fusion_nb.core.items import read_labels
from fusion_nb.errors import DataError

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
class Given:
    """A data set whose labels are still in the user's form.

    where:   how messages call it;  columns: names of the columns of x, or ()
    labels:  as they are stored, in one array;  facts: about its rows
    is_trained_on: False for test rows
    """

    where: str
    rows: DataSet
    labels: np.ndarray
    facts: Facts
    columns: tuple[str, ...] = ()
    is_trained_on: bool = True

    @classmethod
    def of(
        cls, rows: DataSet, where: str, columns: tuple[str, ...] = (), *, is_trained_on: bool = True
    ) -> Given:
        """Return a data set with its labels, which are read if they are not at hand.

        Raises DataError, which says whose row can't be read, or whose labels are no labels.
        """
        if isinstance(rows, tuple):
            x, labels = rows
            facts = (
                Facts((), (DOCUMENTS,)) if documents.are(rows) else Facts.of(x, with_values=False)
            )
        else:
            try:
                labels, facts = read_labels(rows)
            except DataError as error:
                raise error.prefixed(f"{where}: ") from error.__cause__
        labels = _plain(labels)
        if not are_text(labels, where) and not documents.are_unlabelled(labels):
            check_numbers(labels, f"{where}: y")
        return cls(where, rows, labels, facts, columns, is_trained_on)


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
        check_numbers(x, f"{where}: x")
    return x, y


def _is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN or pandas' NA: those differ from themselves."""
    return value is None or str(value) in ("<NA>", "NaT") or bool(value != value)


def _plain(values: np.ndarray) -> np.ndarray:
    """Return an array of Python's own numbers as one of numpy's; any other is not changed."""
    kinds = (bool, int, float, np.number, np.bool_)
    if values.dtype != object or not values.size:
        return values
    items = values.reshape(-1).tolist()
    if not all(isinstance(item, kinds) for item in items):
        return values
    return np.array(items).reshape(values.shape)


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


def are_text(y: np.ndarray, where: str) -> bool:
    """Return whether labels are text. Raises DataError where only some of them are."""
    if y.dtype == object and any(isinstance(word, str) for word in y.reshape(-1)):
        others = [word for word in y.reshape(-1) if not isinstance(word, str)]
        missing = sum(_is_missing(word) for word in others)
        if missing:
            raise DataError(
                f"{where}: {missing} labels are missing", "fill or drop those rows first"
            )
        if others:
            raise DataError(
                f"{where}: {y.size - len(others)} labels are text, and {len(others)} are not "
                f"({type(others[0]).__name__})",
                "make all of them text or numbers, with y.astype(str) say",
            )
        return True
    return y.dtype.kind in "UST"


def check_numbers(values: np.ndarray, where: str) -> None:
    """Raise DataError for values that are not finite real numbers."""
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
