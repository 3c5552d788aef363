"""Access to any data set: its number of rows, its labels, and its rows by position.

A data set is either a pair `(x, y)` of arrays of equal length, where x may be a dict or a tuple of
several arrays, or any object with `__len__` and
`__getitem__` that gives one `(x, y)` at a time, such as a torch `Dataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fusion_nb.core import seeds
from fusion_nb.core.items import Chain, Rows, guarded, read_labels
from fusion_nb.core.own_rows.reading import size_of

__all__ = [
    "IgnoredAfterFirst",
    "chunks",
    "concat",
    "guarded",
    "is_classes",
    "label_counts",
    "leaves",
    "num_counted",
    "size",
    "some",
    "stored_labels",
    "take",
]


def size(data: Any) -> int:
    """Return the number of rows."""
    return _length(data[0]) if isinstance(data, tuple) else size_of(data)


def take(data: Any, indices: np.ndarray) -> Any:
    """Return the rows at `indices`, in that order, as a data set of the same kind."""
    if isinstance(data, tuple):
        return tuple(_mapped(lambda arrays: arrays[0][indices], [column]) for column in data)
    return Rows(data, indices)


def some(data: Any, count: int, seed: int, owner: str) -> Any:
    """Return `count` of the rows, always the same for a seed and an owner.

    All rows are returned where `count` is 0, or there are no more.
    """
    if not count or count >= size(data):
        return data
    return take(data, np.array(seeds.some(seed, size(data), count, "evaluate", owner)))


def concat(parts: Sequence[Any]) -> Any:
    """Return the rows of several data sets of one kind, one after the other."""
    if isinstance(parts[0], tuple):
        return tuple(_mapped(np.concatenate, columns) for columns in zip(*parts, strict=True))
    return Chain(tuple(parts))


def _length(x: Any) -> int:
    """Return the number of rows of an array, or of several arrays of one length."""
    return len(leaves(x)[0])


def leaves(x: Any) -> list[np.ndarray]:
    """Return the arrays of a column: itself, or those of a dict or a tuple of several."""
    if not isinstance(x, dict | tuple):
        return [x]
    return [leaf for part in (x.values() if isinstance(x, dict) else x) for leaf in leaves(part)]


def _mapped(function: Callable[[Sequence[np.ndarray]], np.ndarray], columns: Sequence[Any]) -> Any:
    """Return a column in the form of the given ones, each of its arrays made of those of them."""
    first = columns[0]
    if isinstance(first, dict):
        return {name: _mapped(function, [column[name] for column in columns]) for name in first}
    if isinstance(first, tuple):
        return tuple(_mapped(function, parts) for parts in zip(*columns, strict=True))
    return function(columns)


def chunks(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Return row indices in batches of a size; the last may be smaller."""
    return [order[start : start + size] for start in range(0, len(order), size)]


class IgnoredAfterFirst(int):
    """An ignored label of rows whose first label counts never: nothing predicts a first token."""


def num_counted(data: Any, ignored: int | None) -> int:
    """Return the number of rows, or of labels that are not ignored where some may be."""
    if ignored is None:
        return size(data)
    labels = stored_labels(data)
    labels = labels[:, 1:] if isinstance(ignored, IgnoredAfterFirst) else labels
    return int((labels != ignored).sum())


def stored_labels(data: Any) -> np.ndarray:
    """Return the labels as they are stored; it reads all rows of a data set without `targets`."""
    if isinstance(data, tuple):
        return np.asarray(data[1])
    return read_labels(data, keeps_missing=True)[0]


def is_classes(y: np.ndarray) -> bool:
    """Return whether labels name classes, which are whole numbers, and are not measurements."""
    return bool(np.issubdtype(y.dtype, np.integer) or y.dtype == np.bool_)


def label_counts(y: np.ndarray) -> dict[int, int]:
    """Return the number of rows of each class; empty for measurements and for multiple labels."""
    if not is_classes(y) or y.ndim != 1:
        return {}
    classes, counts = np.unique(y, return_counts=True)
    return {int(label): int(count) for label, count in zip(classes, counts, strict=True)}
