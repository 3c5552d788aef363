"""Numbers rounded to whole multiples of a step, one step for each block of them."""

from __future__ import annotations

import numpy as np

from fusion_nb.algorithms.compressions import bits
from fusion_nb.algorithms.compressions.base import RowCompression


class BlockRounding(RowCompression):
    """Rounds each number to the nearest of the levels of its block.

    The levels lie evenly between the block's largest size and its negative, which takes 32 bits.

    >>> rule = BlockRounding(width=8, block=4096, feedback=True, down=False)
    >>> len(rule.encode_row(np.ones(4096, np.float32), np.random.default_rng(0)))
    4100
    """

    def __init__(self, *, width: int, block: int, feedback: bool, down: bool) -> None:
        super().__init__(feedback=feedback, down=down)
        self._width, self._block, self._levels = width, block, 2 ** (width - 1) - 1

    def encode_row(self, row: np.ndarray, rng: np.random.Generator) -> bytes:
        """Return the largest sizes of the blocks, then the levels."""
        blocks = in_blocks(row, self._block)
        sizes = np.abs(blocks).max(1, initial=0).astype(np.float32)
        steps = np.where(sizes > 0, sizes, 1)[:, None].astype(np.float64) / self._levels
        numbers = np.rint(blocks / steps).astype(np.int64) + self._levels
        code = bits.fixed_width(numbers.reshape(-1)[: len(row)], self._width)
        return sizes.tobytes() + bits.packed(code)

    def decode_row(self, message: bytes, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return the levels, times the steps of their blocks."""
        sizes = np.frombuffer(message, np.float32, -(-size // self._block))
        code = bits.unpacked(message[sizes.nbytes :])
        numbers = bits.from_fixed_width(code, self._width, size) - self._levels
        steps = np.repeat(sizes.astype(np.float64) / self._levels, self._block)[:size]
        return (steps * numbers).astype(np.float32)


def in_blocks(row: np.ndarray, size: int) -> np.ndarray:
    """Return a row as a matrix of blocks, the last one filled up with zeros.

    >>> in_blocks(np.array([1, 2, 3]), 2).tolist()
    [[1, 2], [3, 0]]
    """
    return np.pad(row, (0, -len(row) % size)).reshape(-1, size)
