"""QSGD: numbers rounded at random to a few levels."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.compressions import bits as codes
from fusion_nb.algorithms.compressions.base import Down, Feedback, RowCompression
from fusion_nb.algorithms.compressions.blocks import in_blocks


class QSGD(RowCompression):
    """Round each number at random to one of a few levels of its bucket's norm.

    The mean over all draws is the change itself. With s = 2^(bits - 1) - 1 levels, and buckets of n
    numbers, the variance is at most min(n / s^2, sqrt(n) / s) * |change|^2. A number takes `bits`
    bits, one of them for its sign, and a bucket 32 for its norm.

    Source: Alistarh, Grubic, Li, Tomioka, Vojnovic, "QSGD: Communication-Efficient SGD via Gradient
    Quantization and Encoding", NeurIPS 2017. Numbers have a fixed width in place of Elias' code.
    """

    def __init__(
        self,
        *,
        bits: Annotated[int, Field(description="bits of a number, with its sign", ge=2, le=16)] = 4,
        bucket: Annotated[int, Field(description="numbers that share a norm", ge=1)] = 512,
        feedback: Feedback = False,
        down: Down = False,
    ) -> None:
        super().__init__(feedback=feedback, down=down)
        self._bits, self._bucket = bits, bucket
        self._levels = 2 ** (bits - 1) - 1

    def encode_row(self, row: np.ndarray, rng: np.random.Generator) -> bytes:
        """Return the norms of the buckets, then the signs and levels."""
        buckets = in_blocks(row.astype(np.float64), self._bucket)
        # The next number above: no level is beyond the highest, and the mean stays exact.
        norms = np.nextafter(
            np.sqrt((buckets**2).sum(1)).astype(np.float32), np.float32(np.inf), dtype=np.float32
        )
        heights = np.abs(buckets) / norms[:, None].astype(np.float64) * self._levels
        levels = np.floor(heights + rng.random(heights.shape)).astype(np.int64)
        numbers = np.where(buckets < 0, levels + self._levels + 1, levels)
        code = codes.fixed_width(numbers.reshape(-1)[: len(row)], self._bits)
        return norms.tobytes() + codes.packed(code)

    def decode_row(self, message: bytes, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return the levels, times the norms of their buckets."""
        norms = np.frombuffer(message, np.float32, -(-size // self._bucket))
        code = codes.unpacked(message[norms.nbytes :])
        numbers = codes.from_fixed_width(code, self._bits, size)
        is_negative = numbers > self._levels
        levels = np.where(is_negative, self._levels + 1 - numbers, numbers)
        return (np.repeat(norms, self._bucket)[:size] * (levels / self._levels)).astype(np.float32)
