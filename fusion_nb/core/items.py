"""Map-style data sets: objects that give one row `(x, y)` at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.core.facts import Facts, text_of
from fusion_nb.core.own_rows.reading import form_of, read_row, size_of
from fusion_nb.errors import DataError, option

#: Rows whose labels are compared with a data set's `targets` before these are used.
_PROBED = 5
#: Names of the label in rows that are dicts.
_LABELS = ("label", "labels", "target", "targets", "y", "class")
#: Rows that are summed up at once.
_CHUNK = 256


@dataclass(frozen=True)
class Rows:
    """Some rows of a map-style data set, read from it one at a time."""

    data: Any
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Any:
        """Return a row. Raises DataError where the data set raises, with its exception as cause."""
        return read_row(self.data, int(self.indices[position]), self.name_of(position))

    def name_of(self, position: int) -> str:
        """Return how messages call a row."""
        return f"row {int(self.indices[position])} of the data set (number {position} here)"


@dataclass(frozen=True)
class _Named:
    """All rows of a data set, each named in the message where it can't be read."""

    data: Any

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> Any:
        return read_row(self.data, row, f"row {row} of the data set")


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
class Relabelled:
    """The rows of a map-style data set, with each label of text as the number of its class."""

    data: Any
    number: Mapping[str, float]

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, row: int) -> Any:
        x, y = self.data[row]
        return x, self.number[text_of(y)]


@dataclass(frozen=True)
class Unreadable:
    """The rows of a party that could not be read: each raises the same error in training."""

    error: DataError
    count: int = 1

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Any:
        raise self.error


def odd_row(data: Any, positions: Sequence[int]) -> DataError | None:
    """Return the error that names the first row which has another form than most others, or None.

    positions: of rows that can't be put into one batch
    """
    forms = {position: form_of(data[position]) for position in positions}
    usual = Counter(forms.values()).most_common(1)[0][0]
    for position, form in forms.items():
        if form != usual:
            name = data.name_of(position) if isinstance(data, Rows) else f"row {position}"
            return DataError(
                f"{name} is {form}, and others are {usual}",
                f"give all rows one form; {option('quorum', 0.5)} lets rounds go on without the "
                "parties that fail",
            )
    return None


def read_labels(data: Any, *, keeps_missing: bool = False) -> tuple[np.ndarray, Facts]:
    """Return the labels of a map-style data set, and the facts about its rows.

    All rows are read, unless the data set, or the one behind a subset, has their labels as
    `targets` or `labels`; the facts are then those of a few, from the first to the last.
    keeps_missing: NaN is allowed in rows, as a number that is missing
    Raises DataError for a row that can't be read or that is no pair `(x, y)`.
    """
    named = _Named(data)
    count = size_of(data)
    few = {row: named[row] for row in _spread(count)}
    if few and not _is_pair(few[0]):
        return _read_structured(named, few, keeps_missing)
    probed = {row: _pair(named, item) for row, item in few.items()}
    stored = _targets(data)
    # A target_transform makes the items' labels differ from the stored ones.
    if stored is not None and all(
        np.array_equal(stored[row], np.asarray(y)) for row, (_, y) in probed.items()
    ):
        sample = [x for x, _ in probed.values()]
        return stored, _facts(sample, [*probed], keeps_missing, is_sample=True)
    labels, facts, xs = [], [], []
    for row in range(count):
        x, y = probed[row] if row in probed else _pair(named, named[row])
        labels.append(_one_label(y))
        xs.append(x)
        if len(xs) == _CHUNK or row == count - 1:
            facts.append(_facts(xs, range(row + 1 - len(xs), row + 1), keeps_missing))
            xs = []
    for number, found in enumerate(facts):
        if found.shape != facts[0].shape:
            raise _ragged(facts[0].shape, found.shape, number * _CHUNK)
    try:
        return _together(labels), Facts.union(facts)
    except ValueError:
        raise DataError(
            f"the labels of {type(data).__name__} have different shapes",
            "return labels of one shape from its __getitem__",
        ) from None


def _spread(count: int) -> list[int]:
    """Return a few rows from the first to the last: sorted sets have other rows at their end."""
    if count <= _PROBED:
        return [*range(count)]
    return [round(place * (count - 1) / (_PROBED - 1)) for place in range(_PROBED)]


def _facts(
    xs: list[Any], rows: Sequence[int], keeps_missing: bool, *, is_sample: bool = False
) -> Facts:
    """Return the facts about some rows x, each one array, or a dict or a tuple of several."""
    x = xs[0]
    if isinstance(x, dict):
        named = {name: _stacked([row[name] for row in xs], rows, keeps_missing) for name in x}
        return Facts.of_tree(named, is_sample=is_sample)
    if isinstance(x, tuple | list) and all(np.ndim(part) and hasattr(part, "dtype") for part in x):
        columns = zip(*xs, strict=True)
        parts = tuple(_stacked(list(column), rows, keeps_missing) for column in columns)
        return Facts.of_tree(parts, is_sample=is_sample)
    stacked = _stacked(xs, rows, keeps_missing)
    return Facts.of(stacked, is_sample=is_sample, with_values=False)


def _one_label(y: Any) -> np.ndarray:
    """Return the label of a row, or NaN for the labels of several outputs."""
    is_tree = isinstance(y, tuple | list) and any(np.ndim(part) for part in y)
    several = isinstance(y, dict) or (is_tree and len({np.shape(part) for part in y}) > 1)
    return np.asarray(np.nan if several else y)


def _together(labels: list[np.ndarray]) -> np.ndarray:
    """Return labels as one array, those of Python's own kinds, None among them, as objects."""
    if any(label.dtype == object for label in labels):
        return np.asarray([label.item() if label.ndim == 0 else label for label in labels], object)
    return np.asarray(labels)


def _is_pair(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) == 2


def _read_structured(
    data: _Named, few: Mapping[int, Any], keeps_missing: bool
) -> tuple[np.ndarray, Facts]:
    """Return the labels, or NaN where none is known, and the facts, of rows that are no pairs.

    Such a row is a dict or a tuple of more than two. Raises DataError for any other.
    """
    first = few[0]
    names = (
        [*first] if isinstance(first, dict) else [*range(len(first))] if _is_several(first) else []
    )
    if not names:
        raise DataError(
            f"a row of {type(data.data).__name__} is not a pair (x, y)",
            "return (x, y), a dict or a tuple of several arrays from its __getitem__; (x, x) where "
            "the model needs no labels",
        )
    label = next((name for name in names if _is_label(name, first[name])), None)
    if label is None and _labels_tokens(first):
        label = "labels"
    for row, item in few.items():
        if type(item) is not type(first) or len(item) != len(first):
            raise DataError(
                f"row {row} of {type(data.data).__name__} has another form than the first",
                "return the same names, or as many items, for each row",
            )
    columns = {
        name: _stacked([item[name] for item in few.values()], [*few], keeps_missing)
        for name in names
    }
    facts = Facts.of_tree(columns, is_sample=True)
    if label is None:
        return np.full(len(data), np.nan), facts
    stored = _targets(data.data)
    if stored is not None and np.array_equal(stored[[*few]], columns[label]):
        return stored, facts
    return np.asarray([np.asarray(data[row][label]) for row in range(len(data))]), facts


def _is_several(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) > 2


def _is_label(name: Any, value: Any) -> bool:
    """Return whether an item of a structured row is its label, by which rows are divided."""
    if isinstance(name, str):
        return name.lower() in _LABELS and np.ndim(value) == 0
    return np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biu"


def _labels_tokens(item: Any) -> bool:
    """Return whether a row is a dict of tokens with a label for each, as language models take."""
    if not isinstance(item, dict) or not {"input_ids", "labels"} <= item.keys():
        return False
    labels = np.asarray(item["labels"])
    return labels.dtype.kind in "iu" and labels.shape == np.shape(item["input_ids"])


def _pair(data: _Named, item: Any) -> tuple[Any, Any]:
    if not (isinstance(item, list | tuple) and len(item) == 2):
        raise DataError(
            f"a row of {type(data.data).__name__} is not a pair (x, y)",
            "return (x, y) from its __getitem__",
        )
    return item[0], item[1]


def _stacked(xs: list[Any], rows: Sequence[int], keeps_missing: bool) -> np.ndarray:
    """Return rows as one array.

    rows: their positions, for messages;  keeps_missing: NaN is allowed
    Raises DataError for pictures, for rows of several shapes
    and for values that are masked or not finite.
    """
    kind = next((type(x) for x in xs if type(x).__module__.partition(".")[0] == "PIL"), None)
    if kind is not None:
        raise DataError(
            f"a row of the data set is a picture ({kind.__name__} of PIL), not numbers",
            "make it numbers: give the data set transform=torchvision.transforms.ToTensor(), or "
            "return np.asarray(picture) from its __getitem__",
        )
    made = [np.asarray(x) for x in xs]
    for row, given, x in zip(rows, xs, made, strict=True):
        if x.shape != made[0].shape:
            raise _ragged(made[0].shape, x.shape, row)
        if isinstance(given, np.ma.MaskedArray) and np.ma.count_masked(given):
            raise _unusable(row, "masked")
    stacked = np.stack(made)
    if stacked.dtype.kind == "f":
        are_bad = np.isinf(stacked) if keeps_missing else ~np.isfinite(stacked)
        if are_bad.any():
            bad = next(row for row, each in zip(rows, are_bad, strict=True) if each.any())
            raise _unusable(bad, "infinite" if keeps_missing else "NaN or infinite")
    return stacked


def _unusable(row: int, kind: str) -> DataError:
    return DataError(
        f"row {row} of the data set holds {kind} values", "fill or drop those rows first"
    )


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
    return data if isinstance(data, tuple | Rows) else Rows(data, np.arange(len(data)))
