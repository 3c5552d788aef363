"""The stream of a private run's noise: it follows from the seed and all that decides the run.

With the seed alone, two runs that differ in an option, a row or a first weight would have the same
noise, and the difference of their models none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from fusion_nb.core import arithmetic
from fusion_nb.core.types import Weights

#: The name of the stream's number in states, broadcasts and options of training.
STREAM = "stream"


def number_of(identity: str, mechanism: str, weights: Weights) -> int:
    """Return the number of the stream of a run; 0 where the seed alone decides the noise.

    identity:  a digest of the run's options and rows, or ""
    mechanism: the kind of privacy, with its clip and noise;  weights: before round 1
    """
    if not identity:
        return 0
    told = f"{identity}\0{mechanism}\0{arithmetic.digest(weights)}"
    return int(hashlib.sha256(told.encode()).hexdigest()[:15], 16)


def stream_of(found: Mapping[str, Any]) -> dict[str, int]:
    """Return the stream as a state or an aggregator tells it; {} where the seed decides.

    >>> stream_of({"stream": 7, "clip": 1.0}), stream_of({"stream": 0}), stream_of({})
    ({'stream': 7}, {}, {})
    """
    number = int(found.get(STREAM, 0))
    return {STREAM: number} if number else {}


def noise_key(found: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the noise's key beside seed, round and party, of a state or what parties are told."""
    return tuple(stream_of(found).values())
