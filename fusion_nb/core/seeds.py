"""One random stream for each purpose, so that no draw depends on which other draws were made before
it.

`stream(seed, "fit", 3, "party 2")` is the same on every engine, however many parties answered
first.
"""

from __future__ import annotations

import random
import threading
import zlib
from typing import Any

import numpy as np


def _sequence(seed: int, key: tuple[str | int, ...]) -> np.random.SeedSequence:
    # crc32 and not hash(): Python salts the hash of strings anew in every process.
    words = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in key]
    return np.random.SeedSequence([seed, *words])


def stream(seed: int, *key: str | int) -> np.random.Generator:
    """Return the random generator that belongs to `key` under `seed`."""
    return np.random.default_rng(_sequence(seed, key))


def number(seed: int, *key: str | int) -> int:
    """Return a 63-bit whole number that belongs to `key` under `seed`, for frameworks that seed by
    number.
    """
    return int(_sequence(seed, key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def some(seed: int, total: int, count: int, *key: str | int) -> list[int]:
    """Return `count` of the numbers below `total` in order, chosen by the stream that belongs to
    `key`.
    """
    if count == total:
        return list(range(total))
    return sorted(stream(seed, *key).choice(total, count, replace=False).tolist())


class Shared:
    """Python's and numpy's own random state, fixed by a seed for whoever draws inside `with`, and
    given back after.

    For code of the user's that draws from it: a cell's body, or a data set that varies its rows.
    Entered again, it goes on where it left. The state is everyone's: with `alone`, one thread at a
    time holds it, and should hold it shortly.
    """

    _lock = threading.RLock()

    def __init__(self, seed: int, *, alone: bool) -> None:
        self._alone = alone
        self._own = random.Random(seed).getstate(), np.random.RandomState(seed % 2**32).get_state()
        self._theirs: Any = None

    def __enter__(self) -> None:
        if self._alone:
            self._lock.acquire()
        self._theirs = random.getstate(), np.random.get_state()
        self._set(self._own)

    def __exit__(self, *error: object) -> None:
        self._own = random.getstate(), np.random.get_state()
        self._set(self._theirs)
        if self._alone:
            self._lock.release()

    @staticmethod
    def _set(state: Any) -> None:
        random.setstate(state[0])
        np.random.set_state(state[1])
