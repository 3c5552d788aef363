"""Clicks that arrive while a cell runs."""

from __future__ import annotations

from typing import Any


def answer_beside(widget: Any) -> None:
    """Let clicks on a widget be handled beside the cell that runs, where the kernel can do so.

    ipykernel 7.4 sends what a front end says about a widget to the thread that made it, which a
    running cell keeps busy; so a Stop would arrive when there is nothing left to stop. As ipykernel
    7.1 did, it goes where the front end sent it. Without that method (other versions, no kernel)
    there is nothing to do.
    """
    comm = getattr(widget, "comm", None)
    if comm is not None and hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, default: default
