"""Ordinary files: reading a pipe would wait for ever, and reading a device take all memory."""

from __future__ import annotations

import errno
import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any, BinaryIO

#: Bytes of a description in JSON, at most.
_MAX_JSON = 256 << 20
_BLOCK = 1 << 20


def open_ordinary(path: Path) -> BinaryIO:
    """Open a file to read its bytes. Raises OSError for what is no ordinary file."""
    # A pipe is opened without waiting for its other end. Windows has no such files, nor the flag.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
    return os.fdopen(handle, "rb")


def read_json_file(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises OSError, or ValueError for a file that is no JSON, too large, or nested too deeply.
    """
    with open_ordinary(path) as file:
        content = file.read(_MAX_JSON + 1)
    if len(content) > _MAX_JSON:
        raise ValueError(f"{path.name} has more than {_MAX_JSON:,} bytes")
    return parse_json(content, path.name)


def parse_json(content: bytes | str, said: str) -> Any:
    """Return the value in JSON. Raises ValueError, for one that is nested too deeply as well.

    said: how messages call it
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError(f"{said} is nested too deeply") from None


def crc32_of(path: Path, size: int | None = None) -> int:
    """Return the CRC-32 of a file, or of its first bytes. Raises OSError."""
    found, left = 0, size
    with open_ordinary(path) as file:
        while block := file.read(_BLOCK if left is None else min(_BLOCK, left)):
            found = zlib.crc32(block, found)
            left = None if left is None else left - len(block)
    return found
