"""Which notebook cell a thread prints into."""

from __future__ import annotations

import sys
from collections.abc import Callable


def tie() -> Callable[[], None]:
    """Return what a new thread calls first, so that its output lands in the cell that is running now.

    Untied, a thread prints into whichever cell runs at that moment. Outside a notebook it does nothing.
    """
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "get_parent"):
        return lambda: None
    parent = shell.get_parent()
    tie_thread = getattr(shell, "set_thread_parent", shell.set_parent)
    return lambda: tie_thread(parent)
