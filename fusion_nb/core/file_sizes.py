"""Limits on the memory that a file declares, which are checked before any of it is allocated."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

from fusion_nb.errors import FusionError, ModelError

#: The environment variable that raises the limit, in bytes.
VARIABLE = "FUSION_NB_MAX_UNPACKED"
#: A file may declare this number of bytes, or this multiple of its own size, whichever is more. A
#: file of weights declares little more than its size.
_ALWAYS_ALLOWED, _MULTIPLE = 256 * 2**20, 4


def limit_for(size: int) -> int:
    """Return the bytes that a file of a size may declare. `FUSION_NB_MAX_UNPACKED` can raise it."""
    given = os.environ.get(VARIABLE, "").replace("_", "")
    return max(_ALWAYS_ALLOWED, _MULTIPLE * size, int(given) if given.isdecimal() else 0)


def check_declared(
    path: Path, declared: int, what: str = "it", kind: type[FusionError] = ModelError
) -> None:
    """Raise an error of a kind where a file declares more bytes than its size allows.

    what: the subject of the sentence
    """
    size = path.stat().st_size
    limit = limit_for(size)
    if declared > limit:
        raise kind(
            f"{path} is refused: {what} would take {_bytes(declared)}, and a file of "
            f"{_bytes(size)} may declare {_bytes(limit)}",
            f"if you trust it, set the environment variable {VARIABLE}={declared} (bytes) and "
            "read it again",
        )


def count_bytes(shape: Iterable[int], itemsize: int) -> int:
    """Return the bytes of an array of a shape.

    >>> count_bytes((2, 3), 4)
    24
    """
    return math.prod(shape) * itemsize


def unpacked_bytes(entries: Iterable[zipfile.ZipInfo]) -> int:
    """Return the bytes that the entries of a zip archive declare; no more is ever read of them."""
    return sum(entry.file_size for entry in entries)


def _bytes(count: int) -> str:
    if count < 10_000:
        return f"{count:,} bytes"
    return f"{count / 1e6:,.0f} MB" if count >= 10**6 else f"{count / 1e3:,.0f} kB"
