"""Skews at work: rows that are left out, changed, or had in some rounds only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core import seeds
from fusion_nb.core.protocols import Place, Skew
from fusion_nb.core.rounds.drift import Drift
from fusion_nb.errors import SplitError

#: Rows that the spread of numbers is measured on, at most.
_MOST_ROWS = 20_000

Skews = Sequence[tuple[str, Skew]]


def kept(skews: Skews, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the positions of the rows that are divided among parties."""
    positions = np.arange(len(labels))
    for name, skew in skews:
        positions = positions[skew.kept(labels[positions], seeds.stream(seed, "kept", name))]
    return positions


def changes_rows(skew: Skew) -> bool:
    """Return whether a skew changes the numbers of rows."""
    return type(skew).rows is not Skew.rows


def spreads(name: str, data: Any) -> list[Place]:
    """Return the spread of the numbers of a data set, one for each of its arrays.

    name: of the skew, for messages. Raises SplitError for rows that are no arrays of numbers.
    """
    arrays = rows_of.leaves(data[0]) if isinstance(data, tuple) else []
    if not arrays or not all(_is_numeric(array) for array in arrays):
        raise SplitError(
            f"the split {name!r} changes numbers, and these rows are no arrays of numbers",
            "give rows as numpy arrays or tensors, or use a split by labels, such as dirichlet",
            option="split",
            value=name,
        )
    return [_spread(array) for array in arrays]


def changed(
    skews: Skews,
    data: Any,
    spread: Sequence[Place],
    place: tuple[int, int],
    stream: Sequence[str | int],
    seed: int,
) -> Any:
    """Return a party's rows after all skews.

    place: the number of the party, and how many there are;  stream: the key of its random stream
    """
    if data is None:
        return None
    x, y = data
    for name, skew in skews:
        if not changes_rows(skew):
            continue
        numbers = iter(range(len(spread)))

        def one(array: np.ndarray, skew: Skew = skew, name: str = name) -> np.ndarray:
            which = next(numbers)  # noqa: B023 - read before the next skew begins
            rng = seeds.stream(seed, "skew", name, which, *stream)
            here = replace(spread[which], number=place[0], num_parties=place[1], rng=rng)
            return _as_before(skew.rows(array, here), array, here)

        x = _each(x, one)
    return x, y


def drift(
    skews: Skews, labels: np.ndarray, place: tuple[int, int], party: str, seed: int
) -> Drift | None:
    """Return the rounds in which a party has its training rows; None for all rows in all rounds."""
    for name, skew in skews:
        rng = seeds.stream(seed, "drift", name, party)
        found = skew.drift(labels, Place(*place, rng=rng))
        if found is not None:
            return found
    return None


def notes(skews: Skews, num_parties: int, num_rows: int, num_kept: int) -> list[str]:
    """Return sentences about skews."""
    said = [f"split: {name}: {text}" for name, s in skews if (text := s.describe(num_parties))]
    if num_kept < num_rows:
        said.append(f"split: {num_rows - num_kept:,} of {num_rows:,} rows are left out")
    return said


def _is_numeric(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "iuf"


def _spread(array: np.ndarray) -> Place:
    some = array[:_MOST_ROWS].astype(np.float64)
    low, high = (float(np.nanmin(some)), float(np.nanmax(some))) if some.size else (0.0, 0.0)
    is_image = array.ndim > 2
    scale = np.array(high - low) if is_image else np.nanstd(some, axis=0)
    centre = np.array((low + high) / 2) if is_image else np.nanmean(some, axis=0)
    return Place(0, 1, is_image=is_image, low=low, high=high, scale=scale, centre=centre)


def _each(column: Any, function: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Return a column in its form, each of its arrays changed."""
    if isinstance(column, dict):
        return {name: _each(part, function) for name, part in column.items()}
    if isinstance(column, tuple):
        return tuple(_each(part, function) for part in column)
    return function(column)


def _as_before(new: np.ndarray, old: np.ndarray, place: Place) -> np.ndarray:
    """Return changed rows in the dtype that they had; whole numbers stay within their range."""
    if old.dtype.kind in "iu" and new.dtype.kind == "f":
        new = np.rint(np.clip(new, place.low, place.high))
    return np.ascontiguousarray(new, dtype=old.dtype)
