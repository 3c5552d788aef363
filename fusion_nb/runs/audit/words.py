"""Words of a row, read off an update of a model whose first layer looks them up in a table."""

from __future__ import annotations

import numpy as np

from fusion_nb.core import arithmetic
from fusion_nb.core.types import Weights


def inferred(before: Weights, after: Weights, rows: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Return the words of the first of some rows as an update tells them, and the table's size.

    A step of training moves the entries of those words alone that are in the row. With noise all
    entries move, and the guess is those that moved most: as many as the row has words.
    rows: whole numbers, each the place of a word in the table
    Returns None for a model without such a table.
    """
    highest, count = int(rows.max(initial=0)), len(np.unique(rows[0]))
    for array in arithmetic.change(after, before).values():
        if array.ndim == 2 and len(array) > highest:
            moved = np.abs(array).max(1)
            return np.sort(np.argsort(-moved, kind="stable")[:count]), len(array)
    return None


def are_words(rows: np.ndarray, scale: float) -> bool:
    """Return whether rows are places in a table of words: whole numbers that nothing scales."""
    return rows.dtype.kind in "iu" and scale == 1 and int(rows.min(initial=0)) >= 0
