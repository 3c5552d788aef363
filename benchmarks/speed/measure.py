"""How times are taken on a machine that others use too: in turn, and again where somebody else was
at work.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

_STAT = Path("/proc/stat")
#: The columns of /proc/stat in which a core works, or was taken away by the host: all but idle,
#: iowait and guests.
_BUSY = (0, 1, 2, 5, 6, 7)
#: Seconds between two looks at the processes below this one.
_LOOK = 0.25
#: What a foreign busy process runs; it ends by itself if the one that started it was killed.
_BUSY_LOOP = (
    "import os\nparent = os.getppid()\nprint(flush=True)\nwhile os.getppid() == parent: "
    "sum(range(10**6))"
)


@dataclass(frozen=True)
class Measured:
    """The times of each case in seconds, by repetition; and what was thrown away.

    is_noisy: whether repetitions had to be kept in which others used more than the limit.
    """

    seconds: dict[str, list[float]]
    discarded: int = 0
    is_noisy: bool = False

    def median(self, name: str) -> float:
        """Return the median time of a case."""
        return statistics.median(self.seconds[name])

    def ratio(self, a: str, b: str) -> float:
        """Return how many times as long a takes as b: the median over pairs from the same
        repetition.
        """
        return statistics.median(
            x / y for x, y in zip(self.seconds[a], self.seconds[b], strict=True)
        )


def sides(
    cases: Mapping[str, Callable[[], float | None]],
    *,
    repetitions: int = 5,
    limit: float | None = 0.15,
    most: int = 15,
) -> Measured:
    """Run the cases in turn until enough repetitions had no more than a share `limit` of foreign
    CPU.

    A case that returns a number has taken its own time. The order turns round from one repetition
    to the next. After `most` repetitions the ones with the least foreign CPU are taken. limit=None,
    or no /proc/stat: all are taken.
    """
    limit = None if repetitions == 1 else limit  # a single one shows that it runs, and no more
    tried: list[tuple[float, dict[str, float]]] = []
    good = 0
    while good < repetitions and len(tried) < max(most, repetitions):
        names = list(cases)[:: 1 if len(tried) % 2 == 0 else -1]
        with _Foreign() as foreign:
            taken = {name: _seconds(cases[name]) for name in names}
        tried.append((foreign.share, taken))
        good += limit is None or foreign.share <= limit
    if limit is None or good == repetitions:
        kept = [taken for share, taken in tried if limit is None or share <= limit]
    else:
        kept = [taken for _, taken in sorted(tried, key=lambda each: each[0])[:repetitions]]
    seconds = {name: [taken[name] for taken in kept] for name in cases}
    return Measured(seconds, len(tried) - len(kept), good < repetitions)


def peak_memory(function: Callable[[], T]) -> tuple[T, int]:
    """Return what the function returns, and the most bytes that Python and numpy had allocated for
    it at a time.

    Not the resident memory: what earlier cases freed stays with the process, and would hide what
    this one takes.
    """
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        value = function()
        return value, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@contextmanager
def hog() -> Iterator[None]:
    """Keep one core busy from another process while the block runs.

    It is a child of this process, so `sides` does not count it as foreign.
    """
    process = subprocess.Popen([sys.executable, "-c", _BUSY_LOOP], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.communicate()


def _seconds(case: Callable[[], float | None]) -> float:
    started = time.perf_counter()
    own = case()
    return time.perf_counter() - started if own is None else own


class _Foreign:
    """The share of all cores' time that others used while a block ran; 0 where there is no
    /proc/stat.
    """

    share = 0.0

    def __enter__(self) -> _Foreign:
        self._seen: dict[tuple[int, float], float] = {}
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._started, self._busy, self._kin = time.perf_counter(), _busy(), self._look()
        # Times before the block must not count, whichever way the own ones are added up.
        self._first = dict(self._seen)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()
        kin, (busy, cores) = self._look() - self._kin, _busy()
        seen = sum(seconds - self._first.get(key, 0.0) for key, seconds in self._seen.items())
        took = (time.perf_counter() - self._started) * cores
        # Neither way sees all: what nobody waited for is missing in the first, what was brief in
        # the second.
        self.share = max(0.0, busy - self._busy[0] - max(kin, seen)) / took if cores else 0.0

    def _watch(self) -> None:
        while not self._done.wait(_LOOK):
            self._look()

    def _look(self) -> float:
        """Return the CPU seconds of this process and all below it, with those that they have waited
        for.
        """
        if not _STAT.exists():
            return 0.0
        total, own = 0.0, psutil.Process()
        for process in (own, *own.children(recursive=True)):
            try:
                times, key = process.cpu_times(), (process.pid, process.create_time())
            except psutil.Error:
                continue  # it has just ended
            self._seen[key] = times.user + times.system
            total += sum(times[:4])
        return total


def _busy() -> tuple[float, int]:
    """Return the CPU seconds that all cores have worked since the machine started, and how many
    cores there are.
    """
    if not _STAT.exists():
        return 0.0, 0
    lines = _STAT.read_text().splitlines()
    columns = [int(column) for column in lines[0].split()[1:]]
    ticks = sum(columns[i] for i in _BUSY if i < len(columns))
    return ticks / os.sysconf("SC_CLK_TCK"), sum(line.startswith("cpu") for line in lines) - 1
