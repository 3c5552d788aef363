"""Which notebook cell is running, and which one a thread prints into."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def running() -> tuple[str, str]:
    """Return the id of the cell that is running now, and that of this execution of it; empty where
    there is none.
    """
    shell = _shell()
    parent = shell.get_parent() if shell is not None else {}
    return parent.get("metadata", {}).get("cellId", ""), parent.get("header", {}).get("msg_id", "")


def tie() -> Callable[[], None]:
    """Return what a new thread calls first, so that its output lands in the cell that is running
    now.

    Untied, a thread prints into whichever cell runs at that moment. Outside a notebook it does
    nothing.
    """
    shell = _shell()
    if shell is None:
        return lambda: None
    parent = shell.get_parent()
    tie_thread = getattr(shell, "set_thread_parent", shell.set_parent)
    return lambda: tie_thread(parent)


def _shell() -> Any:
    """Return the shell of a notebook's kernel, or None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if hasattr(shell, "get_parent") else None
