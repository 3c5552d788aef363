"""Rows and labels of any origin as arrays of numbers, or refused with what is wrong about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fusion_nb.core import documents
from fusion_nb.core import rows as rows_of
from fusion_nb.errors import DataError


def label_all(
    given: Sequence[tuple[str, Any, bool]],
) -> tuple[list[tuple[Any, np.ndarray]], tuple[str, ...]]:
    """Return every data set with its labels in the form of `data.decode`, and the names of classes
    that were text.

    given: (how messages call it, its rows, whether they are trained on) of all that belongs
    together. What labels are is decided over all of it: a part may lack a class, or have rows that
    look one-hot by chance.
    """
    rows = [to_arrays(rows, where) for where, rows, _ in given]
    raw = [rows_of.stored_labels(part) for part in rows]
    is_text = [_is_text(y, where) for y, (where, _, _) in zip(raw, given, strict=True)]
    for (where, _, _), y, text in zip(given, raw, is_text, strict=True):
        if text != is_text[0] or y.shape[1:] != raw[0].shape[1:]:
            raise DataError(
                f"the labels of {where} are of another form than those of {given[0][0]}",
                "give all one form",
            )
        if not text and not documents.are_unlabelled(y):
            _check_numbers(y, f"{where}: y")
    names: tuple[str, ...] = ()
    if is_text[0]:
        words = [
            [word.decode() if isinstance(word, bytes) else str(word) for word in y] for y in raw
        ]
        trained = (part for part, (_, _, trains) in zip(words, given, strict=True) if trains)
        names = tuple(sorted({word for part in trained for word in part}))
        number = {word: i for i, word in enumerate(names)}
        for (where, _, _), part in zip(given, words, strict=True):
            if unknown := set(part) - number.keys():
                raise DataError(
                    f"{where}: the label {min(unknown)!r} is in no training row", "check the labels"
                )
        raw = [np.array([number[word] for word in part], dtype=np.int64) for part in words]
    together = rows_of.decode(np.concatenate(raw))
    labels = np.split(together, np.cumsum([len(y) for y in raw])[:-1])
    found = [
        ((part[0], y), y) if isinstance(part, tuple) else (part, y)
        for part, y in zip(rows, labels, strict=True)
    ]
    return found, names


def to_arrays(rows: Any, where: str) -> Any:
    """Return (x, y) as arrays of one length, x as numbers; a Dataset is returned as it is."""
    if (
        hasattr(rows, "tensors") and len(rows.tensors) == 2
    ):  # torch's TensorDataset: its arrays are faster to slice
        rows = tuple(rows.tensors)
    if isinstance(rows, tuple) and any(hasattr(column, "toarray") for column in rows):
        raise DataError(f"{where}: x is a sparse matrix", "use its toarray(), or fewer columns")
    if not rows_of.size(rows):
        raise DataError(f"{where}: there are no rows", "give at least two")
    if not isinstance(rows, tuple):
        return rows
    x, y = column(rows[0], f"{where}, x"), column(rows[1], f"{where}, y")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise DataError(
            f"{where}: {np.size(x, 0) if x.ndim else 'no'} rows but {y.size} labels",
            "give one label for each",
        )
    if not documents.are((x, y)):
        _check_numbers(x, f"{where}: x")
    return x, y


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


def column(values: Any, where: str) -> np.ndarray:
    """Return a list, tensor, Series or array as a numpy array of native byte order."""
    if hasattr(
        values, "detach"
    ):  # a tensor, also one that records gradients or sits on another device
        values = values.detach().cpu()
        values = (
            values.float() if str(values.dtype) == "torch.bfloat16" else values
        )  # numpy has no such type
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(
            f"{where}: rows are of different lengths", "pad them to one shape first"
        ) from error
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    # In one piece and writable, as torch asks of an array that it shares memory with.
    return array if array.flags.c_contiguous and array.flags.writeable else array.copy()
