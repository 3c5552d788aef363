"""STC: sparse ternary compression."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.compressions import bits
from fusion_nb.algorithms.compressions.base import Down, Feedback, RowCompression, count_of
from fusion_nb.algorithms.compressions.topk import largest


class STC(RowCompression):
    """Send the positions and signs of the largest numbers, and their mean size once.

    Both ways: the aggregator's change is encoded like those of the parties. A party that missed
    rounds receives the messages of all of them, or the whole model where that is shorter.

    Source: Sattler, Wiedemann, Mueller, Samek, "Robust and Communication-Efficient Federated
    Learning from Non-IID Data", TNNLS 2019 (algorithms 1 to 4).
    """

    def __init__(
        self,
        *,
        p: Annotated[
            float, Field(description="share of the numbers that are sent", gt=0, le=1)
        ] = 0.01,
        feedback: Feedback = True,
        down: Down = True,
    ) -> None:
        super().__init__(feedback=feedback, down=down)
        self._share = p

    def encode_row(self, row: np.ndarray, rng: np.random.Generator) -> bytes:
        """Return the mean size, then the positions and the signs."""
        chosen = largest(row, count_of(self._share, len(row)))
        size = np.abs(row[chosen]).mean(dtype=np.float64) if len(chosen) else 0.0
        code = bits.encode_positions(chosen, bits.golomb_width(self._share))
        signs = (row[chosen] < 0).astype(np.uint8)
        return np.float32(size).tobytes() + bits.packed(np.concatenate([code, signs]))

    def decode_row(self, message: bytes, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return a row of zeros, and of the mean size with either sign."""
        count, row = count_of(self._share, size), np.zeros(size, np.float32)
        mean, code = np.frombuffer(message, np.float32, 1), bits.unpacked(message[4:])
        positions, signs = bits.decode_positions(code, bits.golomb_width(self._share), count)
        row[positions] = np.where(signs[:count], -mean, mean)
        return row
