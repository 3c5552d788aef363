"""How long a local training lasts: a number of passes over the rows, or a number of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Duration:
    """How long a training lasts: `epochs` passes, or `steps` batches where that is not 0."""

    epochs: int
    batch_size: int
    steps: int = 0


def epochs_or_steps(
    shuffled: Callable[[], list[np.ndarray]], epochs: int, steps: int
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield, for each pass over the rows, how many batches came before it, and its batches.

    shuffled: returns the batches of a new pass
    epochs:   passes, where `steps` is 0
    steps:    batches in all; the last pass is cut off

    >>> rows = lambda: [np.array([0, 1]), np.array([2])]
    >>> [(first, len(batches)) for first, batches in epochs_or_steps(rows, 1, steps=3)]
    [(0, 2), (2, 1)]
    """
    taken = 0
    while (taken < steps) if steps else (epochs > 0):
        batches = shuffled()
        batches = batches[: steps - taken] if steps else batches
        yield taken, batches
        taken, epochs = taken + len(batches), epochs - 1
