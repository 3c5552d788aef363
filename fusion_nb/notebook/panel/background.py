"""One thing at a time, in a thread of its own, so that a click returns at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fusion_nb.errors import RunError


class Worker:
    """Does what it is given unless it is busy.

    ended: called in the thread when something is done, with its error or None; by then the worker
    is free again
    tie:   called first in the thread, so that what it prints lands in the panel's cell
    """

    def __init__(self, ended: Callable[[BaseException | None], None]) -> None:
        self.doing = ""
        self.error: BaseException | None = None
        self.tie: Callable[[], None] = lambda: None
        self._ended = ended
        self._lock = threading.Lock()
        self._at_rest = threading.Event()
        self._at_rest.set()

    def do(self, doing: str, action: Callable[[], object]) -> None:
        """Begin, and return at once. Raises RunError while something else is being done."""
        with self._lock:
            if self.doing:
                raise RunError(f"the panel is {self.doing}", "wait a moment")
            self.doing, self.error = doing, None
            self._at_rest.clear()
        threading.Thread(
            target=self._work, args=(action,), name=f"fusion_nb panel, {doing}", daemon=True
        ).start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for what was begun, and return whether it is done; raise its error, if it had
        one.
        """
        waited = 0.0
        # In short waits, since one without end can't be interrupted on every platform.
        while not self._at_rest.wait(0.1) and (timeout is None or waited < timeout):
            waited += 0.1
        if self.error is not None and self._at_rest.is_set():
            raise self.error
        return self._at_rest.is_set()

    def _work(self, action: Callable[[], object]) -> None:
        try:
            self.tie()
            action()
        except BaseException as error:
            self.error = error
        finally:
            self.doing = ""
            self._ended(self.error)
            self._at_rest.set()
