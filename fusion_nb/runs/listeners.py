"""Functions that are called on events, none of which can end a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from fusion_nb.core.process.foreign_errors import is_interrupt, print_traceback

T = TypeVar("T")


class Listeners(Generic[T]):
    """Functions of one argument, called in the order in which they were added.

    >>> listeners = Listeners()
    >>> remove = listeners.add(print)
    >>> listeners.notify("round 1")
    round 1
    >>> remove()
    >>> listeners.notify("round 2")
    """

    def __init__(self) -> None:
        self._entries: tuple[tuple[object, Callable[[T], object]], ...] = ()

    def add(self, listener: Callable[[T], object]) -> Callable[[], None]:
        """Add a listener, and return a function that removes it again."""
        key = object()
        self._entries = (*self._entries, (key, listener))
        return lambda: self._remove(key)

    def notify(self, event: T) -> None:
        """Call every listener. One that raises is removed, and its traceback is printed."""
        for key, listener in self._entries:
            try:
                listener(event)
            except BaseException as error:  # a chart that can't be drawn must not end a training
                if is_interrupt(error):
                    raise
                self._remove(key)
                print_traceback(error)

    def _remove(self, key: object) -> None:
        self._entries = tuple(entry for entry in self._entries if entry[0] is not key)
