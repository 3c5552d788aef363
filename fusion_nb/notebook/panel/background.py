"""Work of the panel in a thread of its own, so that a click returns at once."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from fusion_nb.errors import RunError

#: Seconds of one wait: Windows delivers an interrupt only between two waits.
_SLICE = 0.5


class BackgroundWorker:
    """Does one thing at a time.

    ended: called in the thread when something is done, with its error or None; by then the worker
           is free again
    """

    def __init__(self, ended: Callable[[BaseException | None], None]) -> None:
        self.activity = ""
        self.error: BaseException | None = None
        self._ended = ended
        self._bind_output: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._done.set()

    def print_into(self, bind_output: Callable[[], None]) -> None:
        """Call `bind_output` first in each thread, so that its output lands in a certain cell."""
        self._bind_output = bind_output

    def begin(self, activity: str, action: Callable[[], object], delay: float = 0.0) -> None:
        """Begin an action, and return at once. Raises RunError while another one is under way.

        activity: the action in words, for messages;  delay: seconds before the action is called
        """
        with self._lock:
            if self.activity:
                raise RunError(f"the panel is {self.activity}", "wait a moment")
            self.activity, self.error = activity, None
            # A new one: the thread of the last action may be about to set its own.
            self._done = threading.Event()
        thread = threading.Timer(delay, self._work, args=(action, self._done))
        thread.name, thread.daemon = f"fusion_nb panel, {activity}", True
        thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the action is done, and return whether it is.

        Raises the error of the action, if it had one.
        """
        done = self._done
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if done.wait(min(left, _SLICE)):
                break
        if not done.is_set():
            return False
        if self.error is not None:
            raise self.error
        return True

    def _work(self, action: Callable[[], object], done: threading.Event) -> None:
        try:
            self._bind_output()
            action()
        except BaseException as error:
            self.error = error
        finally:
            self.activity = ""
            self._ended(self.error)
            done.set()
