"""Drift: the training rows that a party has in a round, out of all its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of


@dataclass(frozen=True)
class Drift:
    """Parts of a party's training rows that take turns; after the last one the first comes again.

    every: rounds that a part lasts;  parts: positions of training rows

    >>> drift = Drift(2, (np.array([0, 1]), np.array([2])))
    >>> [drift.positions(round).tolist() for round in (1, 2, 3, 5)]
    [[0, 1], [0, 1], [2], [0, 1]]
    """

    every: int
    parts: tuple[np.ndarray, ...]

    def positions(self, round: int) -> np.ndarray:
        """Return the positions of the rows of a round, which is 1 for the first."""
        return self.parts[(round - 1) // self.every % len(self.parts)]

    def rows(self, data: Any, round: int) -> Any:
        """Return the rows of a round; a step after the last round (0) has all of them."""
        return rows_of.take(data, self.positions(round)) if round else data
