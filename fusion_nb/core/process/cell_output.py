"""The notebook cell that is running, and the cell that a thread prints into.

Only a notebook knows that. Its extension sets a hook; without one there is no cell, and threads
print where they like.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class CellHook(Protocol):
    """The answers of a notebook about its cells."""

    def current_cell(self) -> tuple[str, str]:
        """Return the id of the cell that is running now, and that of this execution of it."""

    def bind_output(self) -> Callable[[], None]:
        """Return a function for a new thread to call first; see `bind_output` below."""


class _NoNotebook:
    def current_cell(self) -> tuple[str, str]:
        return "", ""

    def bind_output(self) -> Callable[[], None]:
        return lambda: None


_hook: CellHook = _NoNotebook()


def set_hook(hook: CellHook | None) -> None:
    """Let a notebook answer from now on; None takes the hook away."""
    global _hook
    _hook = _NoNotebook() if hook is None else hook


def current_cell() -> tuple[str, str]:
    """Return the ids of the running cell and of this execution of it; empty where there is none."""
    return _hook.current_cell()


def bind_output() -> Callable[[], None]:
    """Return a function that a new thread calls first, so that it prints into the current cell.

    Without it, a thread prints into the cell that runs when it prints.
    """
    return _hook.bind_output()
