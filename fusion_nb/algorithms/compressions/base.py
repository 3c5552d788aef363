"""Names, and a base of compressions that treat all entries as one row of numbers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.core import registry
from fusion_nb.core.protocols import Compression
from fusion_nb.core.types import Weights

#: Annotations of options that several compressions have.
Feedback = Annotated[
    bool, Field(description="add to each change the part of earlier ones that was not sent")
]
Down = Annotated[bool, Field(description="encode the fused model's change for the parties too")]
Share = Annotated[float, Field(description="share of the numbers that are sent", gt=0, le=1)]


class RowCompression(Compression):
    """Encodes the numbers of all entries as one row of float32.

    >>> class Plain(RowCompression):
    ...     "Sends every number as it is."
    ...     def encode_row(self, row, rng):
    ...         return row.tobytes()
    ...     def decode_row(self, message, size, rng):
    ...         return np.frombuffer(message, np.float32)
    >>> rng, change = np.random.default_rng(0), {"w": np.ones((1, 2)), "b": np.zeros(1)}
    >>> Plain().decode(Plain().encode(change, rng, {}), change, rng)
    {'w': array([[1., 1.]], dtype=float32), 'b': array([0.], dtype=float32)}
    """

    def __init__(self, *, feedback: bool = True, down: bool = False) -> None:
        self.feedback, self.down = feedback, down

    def encode(
        self, change: Weights, rng: np.random.Generator, memory: dict[str, Any]
    ) -> np.ndarray:
        """Return the message of all entries."""
        return as_message(self.encode_row(as_row(change), rng))

    def decode(self, message: np.ndarray, like: Weights, rng: np.random.Generator) -> Weights:
        """Return the entries of a message."""
        size = sum(array.size for array in like.values())
        return as_entries(self.decode_row(message.tobytes(), size, rng), like)

    @abstractmethod
    def encode_row(self, row: np.ndarray, rng: np.random.Generator) -> bytes:
        """Return the message of a row of float32."""

    @abstractmethod
    def decode_row(self, message: bytes, size: int, rng: np.random.Generator) -> np.ndarray:
        """Return the row of `size` numbers that a message holds."""


def as_row(entries: Weights) -> np.ndarray:
    """Return the numbers of all entries as one row of float32."""
    parts = [array.astype(np.float32).reshape(-1) for array in entries.values()]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def as_entries(row: np.ndarray, like: Weights) -> Weights:
    """Return entries of the names and shapes of `like` that hold the numbers of a row."""
    ends = np.cumsum([array.size for array in like.values()])[:-1]
    parts = np.split(row.astype(np.float32, copy=False), ends)
    return {
        name: part.reshape(array.shape)
        for (name, array), part in zip(like.items(), parts, strict=False)
    }


def as_message(data: bytes) -> np.ndarray:
    """Return bytes as an array, as which they travel."""
    return np.frombuffer(data, np.uint8)


def count_of(share: float, size: int) -> int:
    """Return how many of `size` numbers a share is: at least one, where there are any.

    >>> count_of(0.01, 1000), count_of(0.01, 3)
    (10, 1)
    """
    return min(size, max(1, round(share * size)))


compression = registry.decorator("compressions")
compression.__doc__ = """Register a class derived from `Compression`, for the option `compress`.

>>> @compression
... class Exact(RowCompression):
...     "Sends every number as it is."
...     def __init__(self):
...         super().__init__(feedback=False, down=False)
...     def encode_row(self, row, rng):
...         return row.tobytes()
...     def decode_row(self, message, size, rng):
...         return np.frombuffer(message, np.float32)
>>> registry.create("compressions", "Exact").feedback
False
"""
