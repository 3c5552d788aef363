"""Facts about an array of rows or labels, few enough to be reported without giving away a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

#: More different whole numbers than this are not listed one by one.
MAX_VALUES = 1000
#: The dtype that stands for text.
TEXT = "text"
#: The one that stands for documents, which are words and tags.
DOCUMENTS = "documents"
#: The one that stands for several arrays, or rows that are dicts.
STRUCTURED = "structured"
#: The one that stands for a table whose columns are encoded later.
TABLE = "table"
#: Numbers that are looked at at once.
_CHUNK = 1 << 20
#: How far the sum of shares may be from 1, in the precision of half floats.
_TOLERANCE = 2e-3


@dataclass(frozen=True)
class Facts:
    """A summary of one array, or of several that belong together.

    shape:   of one row, or of one label;  dtypes: numpy's names of the arrays' types, or "text"
    low, high: None without a number;  is_whole: all are whole numbers
    values:  the different whole numbers in order, or None for more than `MAX_VALUES`
    edges:   the two lowest and the two highest different values
    is_one_hot: each is a row of zeros and a single 1;  are_shares: each is non-negative and sums to
             1, and some are not one-hot
    names:   the different texts in order, where labels are text
    is_sample: some rows stand for all
    parts:   of rows of several arrays, or dicts: the facts about each by its name
    has_missing: some numbers are NaN, and the other facts are about the rest
    """

    shape: tuple[int, ...]
    dtypes: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    is_whole: bool = False
    values: tuple[int, ...] | None = ()
    edges: tuple[float, ...] = ()
    is_one_hot: bool = False
    are_shares: bool = False
    names: tuple[str, ...] = ()
    is_sample: bool = False
    parts: tuple[tuple[str, Facts], ...] = ()
    has_missing: bool = False

    @classmethod
    def of_tree(cls, x: Any, *, is_sample: bool = False) -> Facts:
        """Return the facts about rows that are one array, or a dict or a tuple of several."""
        if not isinstance(x, dict | tuple):
            return cls.of(x, is_sample=is_sample, with_values=False)
        named = x.items() if isinstance(x, dict) else enumerate(x)
        parts = [(str(name), cls.of_tree(part, is_sample=is_sample)) for name, part in named]
        return cls((), (STRUCTURED,), is_sample=is_sample, parts=tuple(parts))

    @classmethod
    def of(cls, array: np.ndarray, *, is_sample: bool = False, with_values: bool = True) -> Facts:
        """Return the facts about an array whose first axis is the rows.

        with_values: list the different whole numbers, as labels need it
        """
        shape = array.shape[1:]
        if array.dtype.kind in "OUST":
            names = tuple(sorted({text_of(item) for item in array.reshape(-1).tolist()}))
            return cls(shape, (TEXT,), names=names, is_sample=is_sample)
        dtype = (array.dtype.name,)
        if not array.size or not _is_real(array):
            return cls(shape, dtype, is_sample=is_sample)
        if array.dtype.kind == "f" and _is_nan(array):
            there = array[~np.isnan(array)]
            made = cls(shape, dtype, values=None, is_sample=is_sample, has_missing=True)
            if not there.size:
                return made
            return replace(made, low=float(there.min()), high=float(there.max()))
        is_whole = array.dtype.kind in "biu" or all(
            bool((part == np.rint(part)).all()) for part in _chunks(array)
        )
        found = cls(shape, dtype, float(array.min()), float(array.max()), is_whole)
        found = replace(found, is_sample=is_sample)
        if not with_values:
            return replace(found, values=None)
        distinct = np.unique(array)
        ends = np.unique(np.concatenate([distinct[:2], distinct[-2:]]))
        few = is_whole and len(distinct) <= MAX_VALUES
        is_one_hot, are_shares = _row_sums(array)
        return replace(
            found,
            values=tuple(int(value) for value in distinct) if few else None,
            edges=tuple(float(value) for value in ends),
            is_one_hot=is_one_hot,
            are_shares=are_shares,
        )

    @classmethod
    def union(cls, parts: Sequence[Facts]) -> Facts:
        """Return the facts about several arrays with rows of one shape, as about one array."""
        if parts[0].parts:
            named = [
                (name, cls.union([dict(part.parts)[name] for part in parts]))
                for name, _ in parts[0].parts
            ]
            return replace(parts[0], parts=tuple(named))
        numbers = [part for part in parts if part.low is not None]
        found = _union_of_numbers(numbers) if numbers else cls(parts[0].shape, ())
        return replace(
            found,
            dtypes=tuple(sorted({dtype for part in parts for dtype in part.dtypes})),
            names=tuple(sorted({name for part in parts for name in part.names})),
            is_sample=any(part.is_sample for part in parts),
            has_missing=any(part.has_missing for part in parts),
        )

    @property
    def is_text(self) -> bool:
        """Whether they are text."""
        return self.dtypes == (TEXT,)

    @property
    def dtype(self) -> str:
        """The dtype of all the arrays together, as `np.concatenate` would choose it."""
        return (
            ""
            if {TEXT, DOCUMENTS, STRUCTURED, TABLE} & {*self.dtypes}
            else np.result_type(*map(np.dtype, self.dtypes)).name
        )

    @property
    def are_integers(self) -> bool:
        """Whether they are stored as integers or booleans."""
        return bool(self.dtype) and np.dtype(self.dtype).kind in "biu"

    def within(self, low: float, high: float) -> bool:
        """Return whether there are numbers, and all of them lie between two others."""
        return (
            self.low is not None and self.high is not None and low <= self.low <= self.high <= high
        )


def _union_of_numbers(parts: Sequence[Facts]) -> Facts:
    """Return the facts about several arrays of numbers, but for their dtypes."""
    listed = {value for part in parts for value in part.values or ()}
    is_listed = all(part.values is not None for part in parts) and len(listed) <= MAX_VALUES
    edges = sorted({edge for part in parts for edge in part.edges})
    return Facts(
        parts[0].shape,
        (),
        min(part.low for part in parts if part.low is not None),
        max(part.high for part in parts if part.high is not None),
        is_whole=all(part.is_whole for part in parts),
        values=tuple(sorted(listed)) if is_listed else None,
        edges=tuple(dict.fromkeys([*edges[:2], *edges[-2:]])),
        is_one_hot=all(part.is_one_hot for part in parts),
        are_shares=all(part.are_shares or part.is_one_hot for part in parts)
        and any(part.are_shares for part in parts),
    )


def text_of(item: object) -> str:
    """Return a label of text as a string."""
    return item.decode(errors="backslashreplace") if isinstance(item, bytes) else str(item)


def _is_real(array: np.ndarray) -> bool:
    return array.dtype.kind in "biuf"


def _is_nan(array: np.ndarray) -> bool:
    return bool(np.isnan(array).any())


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rows of an array in chunks, so that a test of them needs little memory."""
    step = max(1, _CHUNK // max(1, array[:1].size))
    for start in range(0, len(array), step):
        yield array[start : start + step]


def _row_sums(array: np.ndarray) -> tuple[bool, bool]:
    """Return whether labels are rows of zeros and a single 1, and whether they are shares."""
    if array.ndim != 2 or array.shape[1] < 2:
        return False, False
    sums = array.sum(1, dtype=np.float64)
    is_binary = bool(((array == 0) | (array == 1)).all())
    if is_binary or array.dtype.kind != "f":
        return is_binary and bool((sums == 1).all()), False
    return False, bool((array >= 0).all() and (np.abs(sums - 1) <= _TOLERANCE).all())
