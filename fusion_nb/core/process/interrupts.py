"""Interrupts of the main thread (■, Ctrl-C), held back until they do no harm.

Python raises KeyboardInterrupt between any two instructions of the main thread: a lock may stay
held, a module half imported, or a run may go on training while nobody waits for it.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from types import FrameType
from typing import Any, Self

#: Seconds after which a second interrupt is raised at once.
_PATIENCE = 2.0
#: Seconds that an import, or a finalizer, may hold an interrupt back.
_LONGEST = 30.0
#: Seconds between two looks at whether it has ended.
_LOOK_SECONDS = 0.05
#: Ends of the names of files whose functions are called where an object is gone.
_OF_WEAK_REFERENCES = ("_weakrefset.py", "weakref.py")


class HeldInterrupts:
    """Holds interrupts back inside `with`, and raises KeyboardInterrupt at its end.

    seconds: raise one inside `with` after that time, but not in the middle of an import or of a
             finalizer unless it comes again; None: only at the end

    `has_come` tells whether one is held; the code inside `with` may look at it, and end early. One
    that an outer `with` holds is handed on to an inner one. In other threads, and beside signal
    handlers of the user's own, nothing changes.

    >>> before = signal.signal(signal.SIGINT, signal.default_int_handler)
    >>> try:
    ...     with HeldInterrupts() as interrupts:
    ...         signal.raise_signal(signal.SIGINT)
    ...         print("not lost:", interrupts.has_come)
    ... except KeyboardInterrupt:
    ...     print("raised at the end")
    not lost: True
    raised at the end
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._seconds = seconds
        self._since: float | None = None
        self._before: Any = None
        self._is_resent = False
        self._lock = _thread.allocate_lock()

    @property
    def has_come(self) -> bool:
        """Whether an interrupt is held."""
        return self._since is not None

    def forget(self) -> None:
        """Drop the interrupt that is held."""
        self._since = None

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        before = signal.getsignal(signal.SIGINT)
        outer = getattr(before, "__self__", None)
        if isinstance(outer, HeldInterrupts):
            if self._seconds is not None and outer.has_come:
                outer.forget()
                raise KeyboardInterrupt
        elif before is not signal.default_int_handler:
            return self
        signal.signal(signal.SIGINT, self._receive)
        self._before = before
        if isinstance(outer, HeldInterrupts) and outer.has_come:
            self._since = outer._since
            outer.forget()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if self._before is None:
            return
        before, self._before = self._before, None
        with self._lock:  # nothing is sent again after this
            signal.signal(signal.SIGINT, before)
        if self.has_come and error is None:
            self.forget()
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        """Hold an interrupt, or raise it if it was held long enough."""
        now, is_resent, self._is_resent = time.monotonic(), self._is_resent, False
        if self._since is None:
            self._since = now
        if self._seconds is None:
            return
        held = now - self._since
        is_repeated = not is_resent and held >= _PATIENCE
        may_break = not _must_go_on(frame) or held >= _LONGEST
        if is_repeated or (held >= self._seconds and may_break):
            self.forget()
            raise KeyboardInterrupt
        # Not a threading.Thread: its start takes a lock that the interrupted code may hold.
        _thread.start_new_thread(self._send_again, (max(self._seconds - held, _LOOK_SECONDS),))

    def _send_again(self, seconds: float) -> None:
        time.sleep(seconds)
        with self._lock:
            if self._before is None or not self.has_come:
                return
            self._is_resent = True
            if hasattr(signal, "pthread_kill"):  # it ends a system call that waits
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            else:
                _thread.interrupt_main()


def _must_go_on(frame: FrameType | None) -> bool:
    """Return whether a frame, or one that called it, imports a module or finalizes an object.

    Python ignores an error of a finalizer and of a weak reference's callback: the interrupt would
    be lost.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib") or code.co_name == "__del__":
            return True
        if code.co_filename.endswith(_OF_WEAK_REFERENCES):
            return True
        frame = frame.f_back
    return False
