"""Errors that code of the user's own raises, whatever they are: no look at one raises another."""

from __future__ import annotations

import sys
import threading
import traceback
from contextlib import suppress
from types import TracebackType

#: Characters of the text of an error that a message repeats.
MAX_TEXT = 300


def is_interrupt(error: BaseException) -> bool:
    """Return whether an error is the user's interrupt: no thread but the main one is told so."""
    is_main = threading.current_thread() is threading.main_thread()
    return isinstance(error, KeyboardInterrupt) and is_main


def text_of(error: BaseException, most: int = MAX_TEXT) -> str:
    """Return the first line of an error's text; "" where it has none, or can't tell it."""
    try:
        return str(error).strip().partition("\n")[0][:most]
    except BaseException as other:
        if is_interrupt(other):
            raise
        return ""


def said(error: BaseException, most: int = MAX_TEXT) -> str:
    """Return an error's class and the first line of its text, as Python prints them.

    >>> said(ValueError("bad row")), said(SystemExit())
    ('ValueError: bad row', 'SystemExit')
    """
    text = text_of(error, most)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def print_traceback(error: BaseException, since: TracebackType | None = None) -> None:
    """Print an error with its traceback, where there is an output that takes it.

    since: the part of the traceback that is printed; None for all of it
    """
    with suppress(Exception):  # a notebook's output may be closed, or the user's own
        shown = error.with_traceback(since or error.__traceback__)
        traceback.print_exception(shown, file=sys.stderr)
