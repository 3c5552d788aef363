"""Sign: one bit for each number."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusion_nb.algorithms.compressions import bits
from fusion_nb.algorithms.compressions.base import Down, Feedback, as_message, as_row
from fusion_nb.core.protocols import Compression
from fusion_nb.core.types import Weights


class Sign(Compression):
    """Send the sign of each number, and the mean size of each entry.

    Source: Karimireddy, Rebjock, Stich, Jaggi, "Error Feedback Fixes SignSGD and other Gradient
    Compression Schemes", ICML 2019 (EF-signSGD, one scale for each entry).
    """

    def __init__(self, *, feedback: Feedback = True, down: Down = False) -> None:
        self.feedback, self.down = feedback, down

    def encode(
        self, change: Weights, rng: np.random.Generator, memory: dict[str, Any]
    ) -> np.ndarray:
        """Return the mean sizes, then the signs."""
        sizes = [
            np.abs(array).mean(dtype=np.float64) if array.size else 0 for array in change.values()
        ]
        signs = (as_row(change) < 0).astype(np.uint8)
        return as_message(np.array(sizes, np.float32).tobytes() + bits.packed(signs))

    def decode(self, message: np.ndarray, like: Weights, rng: np.random.Generator) -> Weights:
        """Return entries of one size with either sign."""
        data = message.tobytes()
        sizes, signs = (
            np.frombuffer(data, np.float32, len(like)),
            bits.unpacked(data[4 * len(like) :]),
        )
        found, begin = {}, 0
        for size, (name, array) in zip(sizes, like.items(), strict=True):
            mine = signs[begin : begin + array.size].reshape(array.shape)
            found[name] = np.where(mine, -size, size).astype(np.float32)
            begin += array.size
        return found
