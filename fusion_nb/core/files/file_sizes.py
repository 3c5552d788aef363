"""Limits on the memory that a file declares, which are checked before any of it is allocated."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from fusion_nb.errors import DataError, ModelError

#: The environment variable that raises the limit, in bytes.
VARIABLE = "FUSION_NB_MAX_UNPACKED"
#: A file may declare this number of bytes, or this multiple of its own size, whichever is more. A
#: file of weights declares little more than its size.
_ALWAYS_ALLOWED, _MULTIPLE = 256 * 2**20, 4
#: The same for packed text.
_TEXT_ALLOWED, _TEXT_MULTIPLE = 4 * 2**20, 50


def limit_for(size: int, always: int = _ALWAYS_ALLOWED, multiple: int = _MULTIPLE) -> int:
    """Return the bytes that a file of a size may declare. `FUSION_NB_MAX_UNPACKED` can raise it."""
    given = os.environ.get(VARIABLE, "").replace("_", "")
    return max(always, multiple * size, int(given) if given.isdecimal() else 0)


def check_declared(path: Path, declared: int, what: str = "it") -> None:
    """Raise ModelError where a file declares more bytes than its size allows.

    what: the subject of the sentence
    """
    size = path.stat().st_size
    limit = limit_for(size)
    if declared > limit:
        raise ModelError(
            f"{path} is refused: {what} would take {spelled(declared)}, and a file of "
            f"{spelled(size)} may declare {spelled(limit)}",
            f"if you trust it, set the environment variable {VARIABLE}={declared} (bytes) and "
            "read it again",
        )


class Unpacked(Protocol):
    """A file that unpacks what it reads, such as a `gzip.GzipFile`."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes."""

    def close(self) -> None:
        """Close the file."""


def counted(file: Unpacked, path: Path) -> BinaryIO:
    """Return a packed file of text, of which no more is unpacked than the limit.

    Reading it raises DataError where it holds more: text is hardly ever packed to a fiftieth.
    file: gives the bytes, unpacked;  path: of the packed file
    """
    return io.BufferedReader(_Counted(file, path))


class _Counted(io.RawIOBase):
    """The bytes of a file, up to a limit that depends on the size of the packed file."""

    def __init__(self, file: Unpacked, path: Path) -> None:
        self._file = file
        self._path = path
        self._limit = limit_for(path.stat().st_size, _TEXT_ALLOWED, _TEXT_MULTIPLE)
        self._count = 0

    def close(self) -> None:
        """Close the file."""
        super().close()
        self._file.close()

    def readable(self) -> bool:
        """Return True: that is all that it can do."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes into a buffer."""
        read = self._file.read(len(buffer))
        buffer[: len(read)] = read
        self._count += len(read)
        if self._count > self._limit:
            raise DataError(
                f"{self._path} is refused: it holds more than {spelled(self._limit)} of text once "
                f"unpacked, and has {spelled(self._path.stat().st_size)}",
                f"if you trust it, unpack it first, or set the environment variable {VARIABLE} to "
                "the bytes that are allowed",
            )
        return len(read)


def count_bytes(shape: Iterable[int], itemsize: int) -> int:
    """Return the bytes of an array of a shape.

    >>> count_bytes((2, 3), 4)
    24
    """
    return math.prod(shape) * itemsize


def unpacked_bytes(entries: Iterable[zipfile.ZipInfo]) -> int:
    """Return the bytes that the entries of a zip archive declare; no more is ever read of them."""
    return sum(entry.file_size for entry in entries)


def spelled(count: int) -> str:
    """Return a number of bytes as users read it."""
    if count < 10_000:
        return f"{count:,} bytes"
    return f"{count / 1e6:,.0f} MB" if count >= 10**6 else f"{count / 1e3:,.0f} kB"
