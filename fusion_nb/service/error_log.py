"""Faults of the server's own, as its log tells them: what and where, and nothing that an error may
quote.
"""

from __future__ import annotations

import logging
import traceback

#: Frames of a fault that are kept: those nearest to it.
_FRAMES = 8


def log_fault(log: logging.Logger, message: str, error: BaseException, **more: object) -> None:
    """Keep an error's type and frames, but not its message, which may quote what a client sent."""
    frames = traceback.format_tb(error.__traceback__, limit=-_FRAMES)
    log.error(message, extra={**more, "error_type": type(error).__name__, "frames": frames})
