"""Pause and stop of a run: one object that the loop, the engines and the models pass by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Self

from fusion_nb.errors import Stopped


class RunControl:
    """Holds or ends a run between two batches, from any thread.

    on_gate: called first whenever a gate is passed; it may raise Stopped

    >>> control = RunControl()
    >>> control.gate()
    >>> control.stop()
    >>> try:
    ...     control.gate()
    ... except Stopped:
    ...     print("stopped")
    stopped
    """

    def __init__(self, on_gate: Callable[[], None] | None = None) -> None:
        self._on_gate = on_gate
        self._stopping, self._going = threading.Event(), threading.Event()
        self._going.set()
        self._paused_time = PausedTime()

    def gate(self) -> None:
        """Block while the run is paused. Raises Stopped when a stop was asked for."""
        if self._on_gate is not None:
            self._on_gate()
        if not self._going.is_set():
            with self._paused_time:
                self._going.wait()
        if self._stopping.is_set():
            raise Stopped

    def clock(self) -> float:
        """Return a time in seconds that stands still while the run is held at a gate."""
        return self._paused_time.clock()

    def pause(self) -> None:
        """Hold the run at its next gate."""
        self._going.clear()

    def resume(self) -> None:
        """Let a run that is held continue."""
        self._going.set()

    def stop(self) -> None:
        """End the run at its next gate; a pause ends too."""
        self._stopping.set()
        self._going.set()

    def reset(self) -> None:
        """Withdraw a stop and a pause, before a run goes on."""
        self._stopping.clear()
        self._going.set()

    @property
    def is_paused(self) -> bool:
        """Whether the run is held, or will be at its next gate."""
        return not self._going.is_set()

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stopping.is_set()


class PausedTime:
    """A stopwatch that runs while at least one thread is inside `with`."""

    def __init__(self) -> None:
        self._lock, self._num_inside = threading.Lock(), 0
        self._since = self._total = 0.0

    def __enter__(self) -> Self:
        with self._lock:
            if not self._num_inside:
                self._since = time.perf_counter()
            self._num_inside += 1
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if not self._num_inside:
                self._total += time.perf_counter() - self._since

    def clock(self) -> float:
        """Return a time in seconds that stands still while a thread is inside."""
        with self._lock:
            now = self._since if self._num_inside else time.perf_counter()
            return now - self._total
