"""One random stream for each purpose, so that no draw depends on which other draws were made before it.

`stream(seed, "fit", 3, "party 2")` is the same on every engine, however many parties answered first.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


def _sequence(seed: int, key: tuple[str | int, ...]) -> np.random.SeedSequence:
    # crc32 and not hash(): Python salts the hash of strings anew in every process.
    words = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in key]
    return np.random.SeedSequence([seed, *words])


def stream(seed: int, *key: str | int) -> np.random.Generator:
    """Return the random generator that belongs to `key` under `seed`."""
    return np.random.default_rng(_sequence(seed, key))


def number(seed: int, *key: str | int) -> int:
    """Return a 63-bit whole number that belongs to `key` under `seed`, for frameworks that seed by number."""
    return int(_sequence(seed, key).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def shared(seed: int) -> Iterator[None]:
    """Fix the random state that Python and numpy share with everyone for a while, and give it back afterwards.

    For code of the user's that draws from it: a cell's body, or a data set that varies its rows.
    """
    pythons, numpys = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)
