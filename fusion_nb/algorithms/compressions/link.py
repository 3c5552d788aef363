"""One message of a sender that keeps what its earlier messages left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fusion_nb.core.protocols import Compression
from fusion_nb.core.types import Weights

#: A random stream for encoding, and one in the same state for decoding.
Streams = tuple[np.random.Generator, np.random.Generator]


def send(
    compression: Compression, change: Weights, kept: Mapping[str, Any], streams: Streams
) -> tuple[np.ndarray, Weights, dict[str, Any]]:
    """Return the message of a change, the change that it holds, and what the sender keeps.

    kept: what the sender kept of its last message, which is not changed

    >>> from fusion_nb.algorithms.compressions.topk import TopK
    >>> rng = np.random.default_rng(0)
    >>> change, rule = {"w": np.array([1.0, 5.0])}, TopK(share=0.5)
    >>> message, sent, kept = send(rule, change, {}, (rng, rng))
    >>> sent["w"], kept["residual"]["w"]
    (array([0., 5.], dtype=float32), array([1., 0.], dtype=float32))
    >>> change, kept = send(rule, {"w": np.array([5.5, 5.0])}, kept, (rng, rng))[1:]
    >>> change["w"]
    array([6.5, 0. ], dtype=float32)
    """
    residual = kept.get("residual", {})
    if compression.feedback:
        change = {
            name: array + residual[name] if name in residual else array
            for name, array in change.items()
        }
    with np.errstate(over="ignore"):
        row = {name: array.astype(np.float32) for name, array in change.items()}
    memory = dict(kept.get("memory", {}))
    message = compression.encode(row, streams[0], memory)
    decoded = receive(compression, message, change, streams)
    new: dict[str, Any] = {"memory": memory} if memory else {}
    if compression.feedback:
        new["residual"] = {
            name: (array - decoded[name]).astype(np.float32) for name, array in change.items()
        }
    return message, decoded, new


def receive(
    compression: Compression, message: np.ndarray, like: Weights, streams: Streams
) -> Weights:
    """Return the change that a message holds."""
    return compression.decode(message, like, streams[1])
