"""Top-k: the numbers of the largest size, with their positions."""

from __future__ import annotations

import numpy as np

from fusion_nb.algorithms.compressions import bits
from fusion_nb.algorithms.compressions.base import (
    Down,
    Feedback,
    RowCompression,
    Share,
    count_of,
)


class TopK(RowCompression):
    """Send the numbers of the largest size, and nothing of the others.

    A number takes 32 bits, and its position some 8 more at a share of 0.01, in Golomb's code.

    Source: Aji, Heafield, "Sparse Communication for Distributed Gradient Descent", EMNLP 2017;
    with error feedback as in Stich, Cordonnier, Jaggi, "Sparsified SGD with Memory", NeurIPS 2018.
    The code of positions is that of Sattler et al., 2019 (see stc).
    """

    def __init__(
        self, *, share: Share = 0.01, feedback: Feedback = True, down: Down = False
    ) -> None:
        super().__init__(feedback=feedback, down=down)
        self._share = share

    def encode_row(self, row: np.ndarray, rng: np.random.Generator) -> bytes:
        """Return the largest numbers, then their positions."""
        chosen = largest(row, count_of(self._share, len(row)))
        code = bits.encode_positions(chosen, bits.golomb_width(self._share))
        return row[chosen].tobytes() + bits.packed(code)

    def decode_row(self, message: bytes, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return a row that is zero but for the numbers that were sent."""
        count, row = count_of(self._share, size), np.zeros(size, np.float32)
        code = bits.unpacked(message[4 * count :])
        positions, _ = bits.decode_positions(code, bits.golomb_width(self._share), count)
        row[positions] = np.frombuffer(message, np.float32, count)
        return row


def largest(row: np.ndarray, count: int) -> np.ndarray:
    """Return the positions of the `count` numbers of the largest size, sorted.

    >>> largest(np.array([1.0, -3.0, 2.0]), 2).tolist()
    [1, 2]
    """
    if count >= len(row):
        return np.arange(len(row))
    return np.sort(np.argpartition(np.abs(row), len(row) - count)[len(row) - count :])
