"""Many buffers written into one file by few calls to the system, without a copy of them."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import BinaryIO

#: Buffers that one call may be given, at most (POSIX: IOV_MAX, 1024 on Linux).
_MAX_BUFFERS = 1024


def write_buffers(file: BinaryIO, buffers: Sequence[memoryview]) -> None:
    """Write buffers of bytes at the end of a file, one after the other. Raises OSError.

    Python's other threads go on meanwhile, which they can't while small buffers are copied.
    """
    if os.name == "nt" or not isinstance(file, io.BufferedWriter):
        file.writelines(buffers)
        return
    file.flush()
    for start in range(0, len(buffers), _MAX_BUFFERS):
        _write_all(file.fileno(), buffers[start : start + _MAX_BUFFERS])
    file.seek(0, os.SEEK_END)  # the file object has not seen these writes


def _write_all(handle: int, buffers: Sequence[memoryview]) -> None:
    written = os.writev(handle, buffers)
    for buffer in buffers:
        if written >= len(buffer):
            written -= len(buffer)
            continue
        rest = buffer[written:]
        written = 0
        while rest:
            rest = rest[os.write(handle, rest) :]
