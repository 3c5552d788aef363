"""The contract of a compression: how a change of the weights becomes bytes, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fusion_nb.core.types import Weights


class Compression(ABC):
    """Encodes the change that a party, or the aggregator, made to the weights.

    The length of the message is the traffic that a run reports. `encode` and `decode` are given
    random streams in the same state, so that positions that both draw need not travel.

    >>> class Halves(Compression):
    ...     "Sends every number in 16 bits."
    ...     def encode(self, change, rng, memory):
    ...         flat = np.concatenate([array.ravel() for array in change.values()])
    ...         return np.frombuffer(flat.astype(np.float16).tobytes(), np.uint8)
    ...     def decode(self, message, like, rng):
    ...         ends = np.cumsum([array.size for array in like.values()])[:-1]
    ...         parts = np.split(message.view(np.float16).astype(np.float32), ends)
    ...         return {n: p.reshape(like[n].shape) for n, p in zip(like, parts, strict=True)}
    >>> rng, change = np.random.default_rng(0), {"w": np.array([[0.5, 2.0]], np.float32)}
    >>> message = Halves().encode(change, rng, {})
    >>> len(message), Halves().decode(message, change, rng)
    (4, {'w': array([[0.5, 2. ]], dtype=float32)})
    """

    #: Whether the sender adds to each change the part of earlier ones that did not arrive.
    feedback: bool = True
    #: Whether the aggregator's change is encoded too, on its way to the parties.
    down: bool = False

    @abstractmethod
    def encode(
        self, change: Weights, rng: np.random.Generator, memory: dict[str, Any]
    ) -> np.ndarray:
        """Return the message: an array of uint8.

        change: entries of float32, all finite
        memory: entries that the sender keeps from one message to the next. Replace them, and never
                change them in place.
        """

    @abstractmethod
    def decode(self, message: np.ndarray, like: Weights, rng: np.random.Generator) -> Weights:
        """Return the change that a message holds, in float32.

        like: entries with the names and shapes of the change
        """
