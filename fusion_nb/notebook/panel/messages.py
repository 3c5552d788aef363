"""What the panel says as HTML: a sentence, what is wrong, and a traceback behind a disclosure."""

from __future__ import annotations

import html
import traceback

from fusion_nb.errors import FusionError, cell_spelling


def plain(sentence: str) -> str:
    """Return a sentence that a screen reader says when it has time."""
    return (
        f'<div role="status" aria-live="polite">{html.escape(sentence)}</div>' if sentence else ""
    )


def aside(sentence: str) -> str:
    """Return a sentence that need not be read."""
    return (
        f'<div style="opacity:.8;line-height:1.4;white-space:normal">{html.escape(sentence)}</div>'
    )


def alert(sentence: str) -> str:
    """Return what is wrong, which a screen reader says at once, in ink that is read on light and on
    dark.
    """
    style = "border-left:3px solid #D55E00;padding-left:.5em;line-height:1.4;white-space:normal"
    return f'<div role="alert" style="{style}">{html.escape(sentence)}</div>'


def disclosed(line: str, text: str) -> str:
    """Return a line that opens a longer text, such as a traceback."""
    style = "white-space:pre-wrap;max-height:24em;overflow:auto;line-height:1.3"
    return (
        f"<details><summary>{html.escape(line)}</summary><pre "
        f'style="{style}">{html.escape(text)}</pre></details>'
    )


def of_error(error: BaseException) -> str:
    """Return an error: one that a user can mend without its stack, any other with it."""
    if isinstance(error, FusionError):
        return alert(one_line(error))
    line = f"{type(error).__name__}: {error}".partition("\n")[0]
    return alert(line) + disclosed("traceback", "".join(traceback.format_exception(error)))


def one_line(error: FusionError) -> str:
    """Return what is wrong and what to do about it."""
    error.spelled(cell_spelling)
    return f"{error.message}: {error.hint}" if error.hint else error.message
