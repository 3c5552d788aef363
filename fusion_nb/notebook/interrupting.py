"""Interrupts (■) of a cell, at any moment of it, as one line in its output."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from fusion_nb.core.process.interrupts import HeldInterrupts
from fusion_nb.errors import Interrupted, RunError

#: Seconds after which a command that does not look for interrupts is broken off.
_SECONDS = 1.0


@contextmanager
def in_one_line(*, is_cell: bool) -> Iterator[None]:
    """Let an interrupt of a cell or a command raise Interrupted, which is shown in one line.

    Inside it, a run that was launched stops by itself: see `BackgroundRun.stopping_on_interrupt`.
    """
    try:
        with HeldInterrupts(_SECONDS):
            yield
    except KeyboardInterrupt:
        said = (
            "cell was interrupted before it launched a run"
            if is_cell
            else "command was interrupted"
        )
        raise Interrupted(f"the {said}", "run it again") from None


def run_body(shell: Any, code: str, num_above: int = 1) -> Any:
    """Run the body of a cell as IPython does, and return IPython's result.

    num_above: the lines of the cell above its body
    Raises Interrupted, and shows nothing, where it is interrupted; and RunError, before anything is
    run, for a body that awaits while the event loop of the kernel runs this cell.
    """
    _check_awaits_nothing(shell, code)
    with _showing_no_interrupts(shell), HeldInterrupts(0):
        done = shell.run_cell(code)
    # Of IPython's own code before the body, or of the body.
    for error in (done.error_before_exec, done.error_in_exec):
        if isinstance(error, KeyboardInterrupt):
            line = _line_in_cell(error.__traceback__, shell.user_ns, num_above)
            raise Interrupted(
                f"the cell's body was interrupted{line}, so nothing was trained", "run it again"
            ) from None
    return done


def _check_awaits_nothing(shell: Any, code: str) -> None:
    """Raise RunError for code that awaits, where an event loop runs already and can't run it."""
    try:
        asyncio.get_running_loop()
        awaits = shell.should_run_async(code, transformed_cell=shell.transform_cell(code))
    except (RuntimeError, SyntaxError):  # no loop runs, or IPython will say what is wrong
        return
    if awaits:
        raise RunError(
            "the cell's body has an `await`, which can't run inside a %%fusion cell",
            "await in a cell of its own above, and use its result in this one",
        )


@contextmanager
def _showing_no_interrupts(shell: Any) -> Iterator[None]:
    """Let a shell show the tracebacks of all errors but interrupts.

    IPython's `set_custom_exc` is not enough: it is about the code of a cell alone, and an interrupt
    may come while IPython compiles that.
    """
    show, before = shell.showtraceback, vars(shell).get("showtraceback")

    def show_others(exc_tuple: Any = None, *args: Any, **options: Any) -> None:
        kind = (exc_tuple or sys.exc_info())[0]
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            show(exc_tuple, *args, **options)

    shell.showtraceback = show_others
    try:
        yield
    finally:
        if before is None:
            del shell.showtraceback
        else:
            shell.showtraceback = before


def _line_in_cell(
    traceback: TracebackType | None, namespace: dict[str, Any], num_above: int
) -> str:
    """Return where in the cell an error arose, as words; empty where it is unknown."""
    number = 0
    while traceback is not None:
        if traceback.tb_frame.f_globals is namespace and not number:
            number = traceback.tb_lineno + num_above
        traceback = traceback.tb_next
    return f" in its line {number}" if number else ""
