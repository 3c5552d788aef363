"""Logging of the server's own failures, without the text of an error, which may quote an upload."""

from __future__ import annotations

import logging
import traceback

#: Number of stack frames that are logged: the innermost ones.
_NUM_FRAMES = 8


def log_failure(log: logging.Logger, message: str, error: BaseException, **fields: object) -> None:
    """Log an error's type and stack frames.

    The error's message is left out, because it may quote a client's data.
    fields: further fields of the log record
    """
    frames = traceback.format_tb(error.__traceback__, limit=-_NUM_FRAMES)
    log.error(message, extra={**fields, "error_type": type(error).__name__, "frames": frames})
