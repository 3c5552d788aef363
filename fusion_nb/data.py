"""The three questions asked of any data set: how many rows, which labels, and the rows at these positions.

A data set is either a pair `(x, y)` of arrays (or tensors) of equal length, or any object with `__len__` and
`__getitem__` that gives one `(x, y)` at a time, such as a torch `Dataset`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


def size(data: Any) -> int:
    """Return the number of rows."""
    return len(data[0]) if isinstance(data, tuple) else len(data)


def labels(data: Any) -> np.ndarray:
    """Return one label for each row: whole numbers for classes (one-hot rows are decoded), floats for regression."""
    if isinstance(data, tuple):
        return _one_column(np.asarray(data[1]))
    if isinstance(data, Rows):
        return labels(data.data)[data.indices]
    for attribute in ("targets", "labels"):  # torchvision's two spellings; reading them spares decoding every image
        if len(found := getattr(data, attribute, ())) == len(data):
            return _one_column(np.asarray(found))
    return _one_column(np.asarray([data[i][1] for i in range(len(data))]))


def take(data: Any, indices: np.ndarray) -> Any:
    """Return the rows at `indices`, in that order, as a data set of the same kind."""
    if isinstance(data, tuple):
        return tuple(column[indices] for column in data)
    return Rows(data, indices)


@dataclass(frozen=True)
class Rows:
    """Some rows of a map-style data set, read from it one at a time."""

    data: Any
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Any:
        return self.data[int(self.indices[position])]


def is_classes(y: np.ndarray) -> bool:
    """Return whether labels name classes: they are whole numbers, not measurements."""
    return bool(np.issubdtype(y.dtype, np.integer) or y.dtype == np.bool_)


def label_counts(y: np.ndarray) -> dict[int, int]:
    """Return how often each class occurs; empty for measurements."""
    if not is_classes(y) or y.ndim != 1:
        return {}
    classes, counts = np.unique(y, return_counts=True)
    return {int(label): int(count) for label, count in zip(classes, counts, strict=True)}


def _one_column(y: np.ndarray) -> np.ndarray:
    if y.ndim == 2 and y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()):
        return np.asarray(y.argmax(1))
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
