"""Map-style data sets: objects that give one row at a time, with its label.

A row is an array, or a tuple or a dict of several: the inputs of one model.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core.facts import STRUCTURED, Facts
from fusion_nb.errors import DataError, FusionError, Stopped, option, private

#: Rows whose labels are compared with a data set's `targets` before these are used.
_PROBED = 5
#: Rows that are summed up at once.
_CHUNK = 256
#: Names under which a row that is a dict holds its label, the usual one first.
LABEL_NAMES = ("labels", "label", "targets", "target", "y")


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


@dataclass(frozen=True)
class Inputs:
    """Arrays of one length as the inputs of a model, with labels.

    parts: a tuple of arrays, or a dict of them by name;  targets: one label for each row
    """

    parts: Any
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> Any:
        return self.at(row)

    def at(self, rows: Any) -> tuple[Any, Any]:
        """Return the row at a position, or all rows at an array of them."""
        return mapped(lambda part: part[rows], self.parts), self.targets[rows]

    def take(self, rows: np.ndarray) -> Inputs:
        """Return some of the rows."""
        return Inputs(*self.at(rows))


@dataclass(frozen=True)
class Relabelled:
    """The rows of a map-style data set, with each label of text as the number of its class."""

    data: Any
    number: dict[str, Any]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> Any:
        x, y = self.data[row]
        return x, self.number[y.decode() if isinstance(y, bytes) else str(y)]


def mapped(function: Any, parts: Any) -> Any:
    """Return a tuple or a dict with a function applied to each part."""
    if isinstance(parts, Mapping):
        return {name: function(part) for name, part in parts.items()}
    return tuple(function(part) for part in parts)


def joined(data: Sequence[Inputs]) -> Inputs:
    """Return the rows of several data sets, one after the other."""
    first = data[0].parts
    names: Any = first if isinstance(first, Mapping) else range(len(first))
    columns = {name: np.concatenate([other.parts[name] for other in data]) for name in names}
    parts = columns if isinstance(first, Mapping) else tuple(columns.values())
    return Inputs(parts, np.concatenate([other.targets for other in data]))


def are_inputs(parts: Any, labels: Any) -> bool:
    """Return whether a tuple or a dict holds several arrays with one row for each label."""
    if not isinstance(parts, tuple | Mapping) or not len(getattr(labels, "shape", ())):
        return False
    arrays = list(_values(parts))
    return bool(arrays) and all(
        len(getattr(array, "shape", ())) and len(array) == len(labels) for array in arrays
    )


def inputs_of(parts: Any, labels: Any) -> Inputs:
    """Return several arrays with labels as a data set; tensors become arrays."""
    return Inputs(mapped(_array, parts), _array(labels))


def is_structured(row: Any) -> bool:
    """Return whether a row is a dict, or a tuple or list of several arrays."""
    if isinstance(row, Mapping):
        return True
    return isinstance(row, tuple | list) and any(np.ndim(part) for part in row)


def split(item: Any, of: str) -> tuple[Any, Any]:
    """Return the row and the label of an item of a data set.

    An item is a pair (x, y), a triple (x, y, weight), or a dict with a label.
    of: the name of the data set's class. Raises DataError for any other.
    """
    if isinstance(item, list | tuple) and len(item) in (2, 3):
        return item[0], item[1]
    if isinstance(item, Mapping):
        name = next((name for name in LABEL_NAMES if name in item), "")
        if name:
            return {key: part for key, part in item.items() if key != name}, item[name]
        raise DataError(
            f"a row of {of} is a dict of {', '.join(map(str, item))}, none of which is its label",
            f"call its label one of: {', '.join(LABEL_NAMES)}",
        )
    raise DataError(
        f"a row of {of} is not a pair (x, y)",
        "return (x, y) from its __getitem__; rows of several inputs are ((a, b), y), or a dict "
        "with 'labels'",
    )


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


def read_labels(data: Any) -> tuple[np.ndarray, Facts]:
    """Return the labels of a map-style data set, and the facts about its rows.

    All rows are read, unless the data set, or the one behind a subset, has their labels as
    `targets` or `labels`; the facts are then those of the first few.
    Raises DataError for a row that can't be read or that is no pair `(x, y)`.
    """
    named = _Named(data)
    count = len(data)
    first = [_pair(named, i) for i in range(min(_PROBED, count))]
    stored = _targets(data)
    # A target_transform makes the items' labels differ from the stored ones.
    if stored is not None and all(
        np.array_equal(stored[i], np.asarray(y)) for i, (_, y) in enumerate(first)
    ):
        return stored, _facts([x for x, _ in first], 0, is_sample=True)
    labels, facts, xs = [], [], []
    for row in range(count):
        x, y = first[row] if row < len(first) else _pair(named, row)
        labels.append(np.asarray(y))
        xs.append(x)
        if len(xs) == _CHUNK or row == count - 1:
            facts.append(_facts(xs, row + 1 - len(xs)))
            xs = []
    for number, found in enumerate(facts):
        if found.shape != facts[0].shape:
            raise _ragged(facts[0].shape, found.shape, number * _CHUNK)
    try:
        return np.asarray(labels), Facts.union(facts)
    except ValueError:
        raise DataError(
            f"the labels of {type(data).__name__} have different shapes",
            "return labels of one shape from its __getitem__",
        ) from None


def _pair(data: _Named, row: int) -> tuple[Any, Any]:
    return split(data[row], type(data.data).__name__)


def _facts(xs: list[Any], start: int, *, is_sample: bool = False) -> Facts:
    if any(is_structured(x) for x in xs):
        return Facts((), (STRUCTURED,), is_sample=is_sample)
    return Facts.of(_stacked(xs, start), is_sample=is_sample, with_values=is_sample)


def _stacked(xs: list[Any], start: int) -> np.ndarray:
    """Return rows as one array. Raises DataError for pictures, and for rows of several shapes."""
    kind = next((type(x) for x in xs if type(x).__module__.partition(".")[0] == "PIL"), None)
    if kind is not None:
        raise DataError(
            f"a row of the data set is a picture ({kind.__name__} of PIL), not numbers",
            "make it numbers: give the data set transform=torchvision.transforms.ToTensor(), or "
            "return np.asarray(picture) from its __getitem__",
        )
    made = [np.asarray(x) for x in xs]
    for number, x in enumerate(made):
        if x.shape != made[0].shape:
            raise _ragged(made[0].shape, x.shape, start + number)
    return np.stack(made)


def _ragged(first: tuple[int, ...], other: tuple[int, ...], row: int) -> DataError:
    return DataError(
        f"rows of the data set have several shapes: the first has {first}, row {row} {other}",
        "pad or resize them to one shape in its __getitem__",
    )


def _targets(data: Any) -> np.ndarray | None:
    """Return the labels that a data set has as an attribute, for every row, or None."""
    if isinstance(data, Relabelled):
        return None
    for found in _candidates(data):
        try:
            y = np.asarray(found)
        except ValueError:  # labels of several lengths
            continue
        if y.ndim and len(y) == len(data):
            return y
    return None


def _candidates(data: Any) -> Iterator[Any]:
    # torchvision's two spellings; using them avoids decoding every image.
    for attribute in ("targets", "labels"):
        found = getattr(data, attribute, None)
        if found is not None and not callable(found):
            yield found
    inner = data.data if isinstance(data, Rows) else getattr(data, "dataset", None)
    indices = getattr(data, "indices", None)
    if inner is not None and indices is not None and not callable(indices):
        behind = _targets(inner)
        if behind is not None:
            yield behind[np.asarray(indices, dtype=int)]
    parts = data.parts if isinstance(data, Chain) else getattr(data, "datasets", None)
    if isinstance(parts, list | tuple) and parts:
        every = [_targets(part) for part in parts]
        if all(y is not None for y in every):
            yield np.concatenate([y for y in every if y is not None])


def guarded(data: Any) -> Any:
    """Return a data set whose rows are named where they can't be read; arrays are not changed."""
    return data if isinstance(data, tuple | Rows | Inputs) else Rows(data, np.arange(len(data)))


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _values(parts: Any) -> Iterator[Any]:
    yield from parts.values() if isinstance(parts, Mapping) else parts
