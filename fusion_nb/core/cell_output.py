"""The notebook's cell that is running, and the cell that a thread prints into.

The notebook extension sets a hook that knows them. Without one there are no cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class CellHook(Protocol):
    """The part of a notebook that knows its cells."""

    def current_cell(self) -> tuple[str, str]:
        """Return the id of the cell that is running now, and that of this execution of it; empty
        where there is none.
        """

    def bind_output(self) -> Callable[[], None]:
        """Return the function that a new thread calls first, so that its output lands in the cell
        that is running now.
        """


_hook: CellHook | None = None


def set_hook(hook: CellHook | None) -> None:
    """Take over the part of a notebook that knows its cells."""
    global _hook
    _hook = hook


def current_cell() -> tuple[str, str]:
    """Return the ids of the cell that is running now and of this execution; empty where there is
    none.
    """
    return ("", "") if _hook is None else _hook.current_cell()


def bind_output() -> Callable[[], None]:
    """Return the function that a new thread calls first, so that its output lands in the cell that
    is running now.

    A thread that does not call it prints into the cell that runs at that moment.
    """
    return (lambda: None) if _hook is None else _hook.bind_output()
