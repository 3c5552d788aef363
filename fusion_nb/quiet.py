"""A library's start-up chatter, kept out of the user's output; what is no chatter is passed on."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

#: Lines that TensorFlow's C++ side writes to the process's stderr while it is loaded, whatever its log level is.
_CHATTER = re.compile(
    rb"(WARNING: All log messages before absl|[IW]\d{4} \d\d|\d{4}-\d\d-\d\d [\d:.]+: [IW] |"
    rb"To enable the following instructions|Skipping registering GPU devices)"
)


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what is written to the process's standard error meanwhile, and then pass on all but the chatter.

    Python's own `sys.stderr` is no help here: the lines come from C++. For the length of an import alone.
    """
    try:
        kept = os.dup(2)
    except OSError:  # a process without standard error has nothing to keep quiet
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            if left := b"".join(line for line in held if not _CHATTER.match(line)):
                os.write(2, left)
