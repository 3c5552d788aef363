"""One random stream for each purpose, so that no draw depends on the order of other draws.

`stream(seed, "fit", 3, "party 2")` is the same on every engine, in whatever order parties answer.
"""

from __future__ import annotations

import random
import threading
import zlib
from typing import Any

import numpy as np

from fusion_nb.errors import OptionError, nearest, option

#: Part of a run that draws at random -> what it draws. Each has the run's seed, or one of its own.
PARTS = {
    "split": "which rows each party holds, and which of them it tests on",
    "cohort": "which parties train in a round, and simulated faults",
    "batches": "the order of rows, and all else that is random in local training",
    "weights": "the first weights of a model that is built for the run",
}
#: The highest seed, which frameworks take as a signed number of 64 bits.
MAX_SEED = 2**63 - 1


def apart(text: str) -> dict[str, int]:
    """Return the seeds of the parts that have one of their own.

    Raises OptionError for a part that does not exist, or a seed that is not allowed.

    >>> apart("split=0,weights=7")
    {'split': 0, 'weights': 7}
    """
    found: dict[str, int] = {}
    for pair in filter(None, (each.strip() for each in text.split(","))):
        part, _, value = (word.strip() for word in pair.partition("="))
        if part not in PARTS:
            raise OptionError(
                f"{option('seed_of', text)}: there is no part {part!r}",
                f"{nearest(part, PARTS)}write split=0,weights=0; parts are: {', '.join(PARTS)}",
            )
        if not value.isdecimal() or int(value) > MAX_SEED:
            raise OptionError(
                f"{option('seed_of', text)}: {pair!r} has no seed",
                f"write {part}= and a whole number >= 0",
            )
        found[part] = int(value)
    return found


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
