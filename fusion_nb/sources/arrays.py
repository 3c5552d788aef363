"""Rows and labels of any origin as arrays of numbers, or refused with what is wrong about them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusion_nb import data
from fusion_nb.errors import DataError


def clean(rows: Any, where: str, classes: tuple[str, ...] = ()) -> tuple[Any, tuple[str, ...]]:
    """Return rows as arrays of numbers, and the names of classes where labels were text."""
    rows = to_arrays(rows, where)
    if not isinstance(rows, tuple):
        return rows, classes
    y, classes = to_numbers(rows[1], where, classes)
    return (rows[0], y), classes


def to_arrays(rows: Any, where: str) -> Any:
    """Return (x, y) as arrays of one length, x as numbers; a Dataset is returned as it is."""
    if rows is None:
        return None
    if hasattr(rows, "tensors") and len(rows.tensors) == 2:  # torch's TensorDataset: its arrays are faster to slice
        rows = tuple(rows.tensors)
    if isinstance(rows, tuple) and any(hasattr(column, "toarray") for column in rows):
        raise DataError(f"{where}: x is a sparse matrix", "use its toarray(), or fewer columns")
    if not data.size(rows):
        raise DataError(f"{where}: there are no rows", "give at least two")
    if not isinstance(rows, tuple):
        return rows
    x, y = column(rows[0], f"{where}, x"), column(rows[1], f"{where}, y")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise DataError(
            f"{where}: {np.size(x, 0) if x.ndim else 'no'} rows but {y.size} labels", "give one label for each"
        )
    _check_numbers(x, f"{where}: x")
    return x, y


def to_numbers(y: np.ndarray, where: str, classes: tuple[str, ...] = ()) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return labels as `data.decode` gives them, and the names of classes where they were text."""
    if y.dtype == object and any(isinstance(word, str) for word in y):
        if missing := sum(not isinstance(word, str) for word in y):
            raise DataError(f"{where}: {missing} labels are missing", "fill or drop those rows first")
        y = y.astype(str)
    if y.dtype.kind in "UST":
        words = [str(word) for word in y]
        names = classes or tuple(sorted(set(words)))
        number = {word: i for i, word in enumerate(names)}
        if unknown := set(words) - number.keys():
            raise DataError(f"{where}: the label {min(unknown)!r} is in no training row", "check the labels")
        return np.array([number[word] for word in words], dtype=np.int64), names
    _check_numbers(y, f"{where}: y")
    return data.decode(y), classes


def _check_numbers(values: np.ndarray, where: str) -> None:
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == np.bool_):
        raise DataError(f"{where} holds {values.dtype}, not numbers", "turn it into numbers first")
    if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise DataError(f"{where} holds {bad} NaN or infinite values", "fill or drop those rows first")


def column(values: Any, where: str) -> np.ndarray:
    """Return a list, tensor, Series or array as a numpy array of native byte order."""
    if hasattr(values, "detach"):  # a tensor, also one that records gradients or sits on another device
        values = values.detach().cpu()
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(f"{where}: rows are of different lengths", "pad them to one shape first") from error
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
