"""The time for which threads are held."""

from __future__ import annotations

import threading
import time
from typing import Self


class Held:
    """A stopwatch that runs while any thread is inside `with`; what several are held at once counts
    once.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._since = self._total = 0.0

    def __enter__(self) -> Self:
        with self._lock:
            if not self._inside:
                self._since = time.perf_counter()
            self._inside += 1
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._total += time.perf_counter() - self._since

    def clock(self) -> float:
        """Return a time in seconds that stands still while threads are held."""
        with self._lock:
            now = self._since if self._inside else time.perf_counter()
            return now - self._total
