"""Access to any data set: its number of rows, its labels, and its rows by position.

A data set is either a pair `(x, y)` of arrays of equal length, or any object with `__len__` and
`__getitem__` that gives one `(x, y)` at a time, such as a torch `Dataset`.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core import seeds
from fusion_nb.errors import DataError, FusionError, Stopped, option, private

#: Whole-numbered floats with at most this many different values are read as classes.
_MAX_FLOAT_CLASSES = 100
#: Rows whose labels are compared with a data set's `targets` before these are used.
_PROBED = 5


def size(data: Any) -> int:
    """Return the number of rows."""
    return len(data[0]) if isinstance(data, tuple) else len(data)


def take(data: Any, indices: np.ndarray) -> Any:
    """Return the rows at `indices`, in that order, as a data set of the same kind."""
    if isinstance(data, tuple):
        return tuple(column[indices] for column in data)
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
        return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Chain(tuple(parts))


def chunks(order: np.ndarray, size: int) -> list[np.ndarray]:
    """Return row indices in batches of a size; the last may be smaller."""
    return [order[start : start + size] for start in range(0, len(order), size)]


def stored_labels(data: Any) -> np.ndarray:
    """Return the labels as they are stored; it reads all rows of a data set without `targets`."""
    return np.asarray(data[1]) if isinstance(data, tuple) else _read_labels(data)


def decode(y: np.ndarray) -> np.ndarray:
    """Return labels as class numbers (int64) where they name classes, else unchanged.

    Booleans, whole-numbered floats of few values and one-hot rows name classes; a single column is
    flattened. All rows together decide, so that this needs a whole data set and not a party's part.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()):
        return np.asarray(y.argmax(1), dtype=np.int64)
    if is_classes(y):
        return y.astype(np.int64)
    if np.issubdtype(y.dtype, np.floating) and y.size and bool((y == np.rint(y)).all()):
        return y.astype(np.int64) if len(np.unique(y)) <= _MAX_FLOAT_CLASSES else y
    return y


def is_classes(y: np.ndarray) -> bool:
    """Return whether labels name classes, which are whole numbers, and are not measurements."""
    return bool(np.issubdtype(y.dtype, np.integer) or y.dtype == np.bool_)


def label_counts(y: np.ndarray) -> dict[int, int]:
    """Return the number of rows of each class; empty for measurements and for multiple labels."""
    if not is_classes(y) or y.ndim != 1:
        return {}
    classes, counts = np.unique(y, return_counts=True)
    return {int(label): int(count) for label, count in zip(classes, counts, strict=True)}


@dataclass(frozen=True)
class Rows:
    """Some rows of a map-style data set, read from it one at a time."""

    data: Any
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Any:
        """Return a row. Raises DataError where the data set raises, with its exception as cause."""
        row = int(self.indices[position])
        return _read_row(self.data, row, f"row {row} of the data set (number {position} here)")


@dataclass(frozen=True)
class _Named:
    """All rows of a data set, each named in the message where it can't be read."""

    data: Any

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> Any:
        return _read_row(self.data, row, f"row {row} of the data set")


@dataclass(frozen=True)
class Chain:
    """The rows of several map-style data sets, one after the other."""

    parts: tuple[Any, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, position: int) -> Any:
        for part in self.parts:
            if position < len(part):
                return part[position]
            position -= len(part)
        raise IndexError(position)


def guarded(data: Any) -> Any:
    """Return a data set whose rows are named where they can't be read; arrays are not changed."""
    return data if isinstance(data, tuple | Rows) else take(data, np.arange(len(data)))


def _read_row(data: Any, row: int, where: str) -> Any:
    """Return a row of a data set, with exceptions of the user's own code as DataError."""
    try:
        return data[row]
    except (FusionError, Stopped):
        raise
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        said = f"{type(error).__name__}: {private(text)}" if text else type(error).__name__
        raise DataError(
            f"{where} can't be read: {said}{_line_of(error)}",
            f"mend or drop the row; {option('quorum', 0.5)} lets rounds go on without the parties "
            "that fail",
        ) from error


def _line_of(error: Exception) -> str:
    """Return the file and line where an exception of the user's own code was raised, as words."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is that of this module
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _read_labels(data: Any) -> np.ndarray:
    data = _Named(data)
    items = [data[i] for i in range(min(_PROBED, len(data)))]
    if not all(isinstance(item, list | tuple) and len(item) == 2 for item in items):
        raise DataError(
            f"a row of {type(data.data).__name__} is not a pair (x, y)",
            "return (x, y) from its __getitem__",
        )
    probed = [np.asarray(y) for _, y in items]
    # torchvision's two spellings; using them avoids decoding every image.
    for attribute in ("targets", "labels"):
        found = getattr(data.data, attribute, None)
        if found is not None and len(found) == len(data):
            y = np.asarray(found)
            # A target_transform makes the items' labels differ from the stored ones.
            if all(np.array_equal(y[i], label) for i, label in enumerate(probed)):
                return y
    return np.asarray([*probed, *(np.asarray(data[i][1]) for i in range(len(probed), len(data)))])
