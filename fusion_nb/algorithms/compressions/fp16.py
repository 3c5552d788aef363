"""fp16: half of the bits of float32."""

from __future__ import annotations

import numpy as np

from fusion_nb.algorithms.compressions.base import Down, Feedback, RowCompression

_RANGE = np.finfo(np.float16)


class FP16(RowCompression):
    """Send each number in 16 bits; one that is too large for them is cut to the largest.

    Source: Micikevicius, Narang, Alben, Diamos, Elsen, Garcia, Ginsburg, Houston, Kuchaiev,
    Venkatesh, Wu, "Mixed Precision Training", ICLR 2018 (the format).
    """

    def __init__(self, *, feedback: Feedback = True, down: Down = False) -> None:
        super().__init__(feedback=feedback, down=down)

    def encode_row(self, row: np.ndarray, rng: np.random.Generator) -> bytes:
        """Return the numbers in float16."""
        return np.clip(row, _RANGE.min, _RANGE.max).astype(np.float16).tobytes()

    def decode_row(self, message: bytes, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return the numbers in float32."""
        return np.frombuffer(message, np.float16, size).astype(np.float32)
