"""PowerSGD: matrices as products of two thin ones."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.compressions.base import Down, Feedback, as_message
from fusion_nb.core.protocols import Compression
from fusion_nb.core.types import Weights


class LowRank(Compression):
    """Send each matrix as the product of two thin ones, found by one step of power iteration.

    Kernels of convolutions are matrices with a row for each of their first dimension. Vectors, and
    matrices for which the product would be longer, are sent as they are. The sender begins with the
    thin matrix of its last message. In the paper all workers share one pair of thin matrices, which
    takes two exchanges of each round; here each party sends a pair of its own, in one.

    Source: Vogels, Karimireddy, Jaggi, "PowerSGD: Practical Low-Rank Gradient Compression for
    Distributed Optimization", NeurIPS 2019 (algorithm 1).
    """

    def __init__(
        self,
        *,
        rank: Annotated[int, Field(description="columns of the thin matrices", ge=1)] = 2,
        feedback: Feedback = True,
        down: Down = False,
    ) -> None:
        self.feedback, self.down, self._rank = feedback, down, rank

    def encode(
        self, change: Weights, rng: np.random.Generator, memory: dict[str, Any]
    ) -> np.ndarray:
        """Return the thin matrices, and the other entries as they are, in their order."""
        parts, starts = [], dict(memory.get("right", {}))
        for name, array in change.items():
            shape = self._thin(array)
            if shape is None:
                parts.append(array.astype(np.float32).tobytes())
                continue
            matrix = array.reshape(shape).astype(np.float64)
            start = starts.get(name)
            if start is None:
                start = rng.standard_normal((shape[1], self._rank))
            left, _ = np.linalg.qr(matrix @ start)
            left = left.astype(np.float32)
            right = (matrix.T @ left).astype(np.float32)
            # Where nothing changed, the next message needs a direction to begin with.
            starts[name] = right if right.any() else start
            parts += [left.tobytes(), right.tobytes()]
        memory["right"] = starts
        return as_message(b"".join(parts))

    def decode(self, message: np.ndarray, like: Weights, rng: np.random.Generator) -> Weights:
        """Return the products, and the other entries."""
        numbers, found = np.frombuffer(message.tobytes(), np.float32), {}
        for name, array in like.items():
            shape = self._thin(array)
            if shape is None:
                part, numbers = numbers[: array.size], numbers[array.size :]
            else:
                rows, columns = shape
                end = (rows + columns) * self._rank
                left = numbers[: rows * self._rank].reshape(rows, -1)
                right = numbers[rows * self._rank : end].reshape(columns, -1)
                part, numbers = left @ right.T, numbers[end:]
            found[name] = part.reshape(array.shape)
        return found

    def _thin(self, array: np.ndarray) -> tuple[int, int] | None:
        """Return rows and columns of an entry whose product is shorter; None for another one."""
        if array.ndim < 2 or not array.size:
            return None
        rows, columns = array.shape[0], array.size // array.shape[0]
        is_shorter = self._rank * (rows + columns) < array.size and self._rank <= min(rows, columns)
        return (rows, columns) if is_shorter else None
