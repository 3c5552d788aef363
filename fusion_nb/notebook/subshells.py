"""Clicks that arrive while a cell runs."""

from __future__ import annotations

from typing import Any


def answer_beside(widget: Any) -> None:
    """Let clicks on a widget be handled while a cell runs, where the kernel can do so.

    ipykernel 7.4 sends the messages of a widget to the thread that made it, which a running cell
    keeps busy, so that a Stop would arrive after the end of the run. This restores ipykernel 7.1's
    way: a message is handled where the front end sent it. Other versions, and widgets without a
    kernel, have no such method and need nothing.
    """
    comm = getattr(widget, "comm", None)
    if comm is not None and hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda data, default: default
