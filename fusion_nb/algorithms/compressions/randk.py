"""Random-k: numbers at random positions that sender and receiver draw alike."""

from __future__ import annotations

import numpy as np

from fusion_nb.algorithms.compressions.base import (
    Down,
    Feedback,
    RowCompression,
    Share,
    count_of,
)


class RandK(RowCompression):
    """Send numbers at random positions, which both ends draw from one stream: none travels.

    Without error feedback the numbers are multiplied by size / count, so that the mean over all
    draws is the change itself; its variance is (size / count - 1) * |change|^2. With error feedback
    they are sent as they are.

    Source: Konecny, McMahan, Yu, Richtarik, Suresh, Bacon, "Federated Learning: Strategies for
    Improving Communication Efficiency", 2016 (random mask); with error feedback as in Stich,
    Cordonnier, Jaggi, "Sparsified SGD with Memory", NeurIPS 2018.
    """

    def __init__(
        self, *, share: Share = 0.01, feedback: Feedback = True, down: Down = False
    ) -> None:
        super().__init__(feedback=feedback, down=down)
        self._share = share

    def encode_row(self, row: np.ndarray, rng: np.random.Generator) -> bytes:
        """Return the numbers at random positions."""
        return row[self._positions(len(row), rng)].tobytes()

    def decode_row(self, message: bytes, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return a row that is zero but for the numbers that were sent."""
        positions, row = self._positions(size, rng), np.zeros(size, np.float32)
        factor = 1.0 if self.feedback else size / max(1, len(positions))
        row[positions] = np.frombuffer(message, np.float32) * np.float32(factor)
        return row

    def _positions(self, size: int, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(size, count_of(self._share, size), replace=False, shuffle=False)
