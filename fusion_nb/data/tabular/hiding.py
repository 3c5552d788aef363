"""Counts of few rows are hidden in tables of parties, and so is what would give them away."""

from __future__ import annotations

import numpy as np


def hidden(counts: np.ndarray, min_count: int) -> np.ndarray:
    """Return which counts (categories, parties and their sum last) are not shown.

    Those from 1 to `min_count` - 1 are not. Where one alone is hidden in a row or in a column, the
    sum would give it away: the next smallest is hidden, too.

    >>> hidden(np.array([[90, 3, 93], [50, 60, 110], [9, 20, 29]]), 5).astype(int)
    array([[1, 1, 0],
           [0, 0, 0],
           [1, 1, 0]])
    """
    mask = (counts > 0) & (counts < min_count)
    before = -1
    while before != mask.sum():
        before = mask.sum()
        for row, at in zip(counts, mask, strict=True):
            _complete(row, at)
        for column, at in zip(counts.T, mask.T, strict=True):
            _complete(column, at)
    return mask


def _complete(counts: np.ndarray, mask: np.ndarray) -> None:
    """Hide a second count where one alone is hidden; a count of 0 tells nothing of its own."""
    if mask.sum() != 1:
        return
    others = np.flatnonzero(~mask & (counts > 0))
    if len(others):
        mask[others[counts[others].argmin()]] = True
