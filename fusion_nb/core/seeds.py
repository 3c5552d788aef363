"""One random stream for each purpose, so that no draw depends on the order of other draws.

`stream(seed, "fit", 3, "party 2")` is the same on every engine, in whatever order parties answer.
"""

from __future__ import annotations

import random
import threading
import zlib
from typing import Any

import numpy as np


def _sequence(seed: int, key: tuple[str | int, ...]) -> np.random.SeedSequence:
    # crc32 and not hash(): Python salts the hash of strings anew in every process.
    words = [
        part if isinstance(part, int) else zlib.crc32(part.encode(errors="surrogatepass"))
        for part in key
    ]
    return np.random.SeedSequence([seed, *words])


def stream(seed: int, *key: str | int) -> np.random.Generator:
    """Return the random generator of `key` under `seed`."""
    return np.random.default_rng(_sequence(seed, key))


def number(seed: int, *key: str | int) -> int:
    """Return a 63-bit whole number for `key` under `seed`, for frameworks that seed by number."""
    return int(_sequence(seed, key).generate_state(1, np.uint64)[0] >> np.uint64(1))


def some(seed: int, total: int, count: int, *key: str | int) -> list[int]:
    """Return `count` of the numbers below `total` in order, chosen by the stream of `key`."""
    if count == total:
        return list(range(total))
    return sorted(stream(seed, *key).choice(total, count, replace=False).tolist())


class SeededGlobalRandomness:
    """A seeded state of Python's and numpy's global generators, swapped in inside `with`.

    For code of the user's that draws from them: a cell's body, or a data set that varies its rows.
    The user's own state is restored at the end, and a second `with` continues the seeded one. The
    state belongs to the whole process: with `exclusive`, one thread at a time holds it, and should
    hold it shortly.
    """

    _lock = threading.RLock()

    def __init__(self, seed: int, *, exclusive: bool) -> None:
        self._exclusive = exclusive
        self._seeded: Any = (
            random.Random(seed).getstate(),
            np.random.RandomState(seed % 2**32).get_state(),
        )
        self._users: Any = None

    def __enter__(self) -> None:
        if self._exclusive:
            self._lock.acquire()
        self._users = _global_state()
        _set_global_state(self._seeded)

    def __exit__(self, *error: object) -> None:
        self._seeded = _global_state()
        _set_global_state(self._users)
        if self._exclusive:
            self._lock.release()


def _global_state() -> Any:
    return random.getstate(), np.random.get_state()


def _set_global_state(state: Any) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])
