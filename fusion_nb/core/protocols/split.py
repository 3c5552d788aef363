"""The contract of a split: the division of rows among parties."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Split(Protocol):
    """Divides rows among parties. Every row belongs to exactly one party.

    >>> import numpy as np
    >>> def halves(labels, num_parties, rng):
    ...     return np.array_split(np.arange(len(labels)), num_parties)
    >>> [rows.tolist() for rows in halves(np.zeros(4), 2, np.random.default_rng(0))]
    [[0, 1], [2, 3]]
    """

    def __call__(
        self, labels: np.ndarray, num_parties: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return the row indices of each party."""
