"""Interrupts (■) of a cell, at any moment of it, as one line in its output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from fusion_nb.core.process.interrupts import HeldInterrupts
from fusion_nb.errors import Interrupted

#: Seconds after which a command that does not look for interrupts is broken off.
_SECONDS = 1.0


@contextmanager
def in_one_line() -> Iterator[None]:
    """Let an interrupt of a command raise Interrupted, which a notebook shows in one line.

    Inside it, a run that was launched stops by itself: see `BackgroundRun.stopping_on_interrupt`.
    """
    try:
        with HeldInterrupts(_SECONDS):
            yield
    except KeyboardInterrupt:
        raise Interrupted(
            "the cell was interrupted before it launched a run", "run it again"
        ) from None


def run_body(shell: Any, code: str) -> Any:
    """Run the body of a cell as IPython does, and return IPython's result.

    Raises Interrupted, and shows nothing, where it is interrupted.
    """
    before = shell.custom_exceptions, shell.CustomTB
    shell.set_custom_exc((KeyboardInterrupt,), lambda *error: None)
    try:
        with HeldInterrupts(0):
            done = shell.run_cell(code)
    finally:
        shell.custom_exceptions, shell.CustomTB = before
    if isinstance(done.error_in_exec, KeyboardInterrupt):
        line = _line_in_cell(done.error_in_exec.__traceback__, shell.user_ns)
        raise Interrupted(
            f"the cell's body was interrupted{line}, so nothing was trained", "run it again"
        ) from None
    return done


def _line_in_cell(traceback: TracebackType | None, namespace: dict[str, Any]) -> str:
    """Return where in the cell an error arose, as words; empty where it is unknown."""
    number = 0
    while traceback is not None:
        if traceback.tb_frame.f_globals is namespace and not number:
            number = traceback.tb_lineno + 1  # the body begins below the line of the magic
        traceback = traceback.tb_next
    return f" in its line {number}" if number else ""
