"""What clients send as files: kept under names of our own, and measured before anything in it is
unpacked.

All but `keep` is done by the process that can be spared, since an archive's mere table of contents
may be huge.
"""

from __future__ import annotations

import ast
import bz2
import gzip
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from fusion_nb.core.file_sizes import unpacked_bytes
from fusion_nb.service.errors import RefusedError, TooLargeError

#: Files inside one archive at the most: an .npz has one for each array, and a model one for each of
#: its weights.
_MAX_ENTRIES = 100_000
_BLOCK = 1 << 20


def keep(sent: BinaryIO, target: Path) -> None:
    """Copy what was sent into a new file that only its owner can read."""
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(sent, file, _BLOCK)


def suffix_of(path: Path) -> str:
    """Return the ending that a party's data should have, by what it begins with; what it is called
    says nothing.
    """
    with path.open("rb") as file:
        first = file.read(512)
    if first.startswith(b"PK"):
        return ".npz"
    if first.startswith(b"\x1f\x8b"):
        return ".jsonl.gz"
    if first.startswith(b"BZh"):
        return ".xml.bz2"
    return ".xml" if first.lstrip().startswith(b"<") else ".jsonl"


def check_unpacked(path: Path, what: str, limit: int) -> None:
    """Raise TooLargeError for an archive that would be larger than `limit` bytes once it is
    unpacked.

    A zip file says how large each part is, and no more than that is ever read of it; other archives
    are read through.
    """
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
            raise RefusedError(
                f"{what} is a damaged archive ({error})", "is it complete? send it again"
            ) from None
        if len(entries) > _MAX_ENTRIES or unpacked_bytes(entries) > limit:
            raise TooLargeError(
                f"{what} holds more than {limit:,} bytes once unpacked", "send less, or in parts"
            )
        return
    opened: dict[str, Callable[[Path], gzip.GzipFile | bz2.BZ2File]] = {
        ".jsonl.gz": gzip.GzipFile,
        ".xml.bz2": bz2.BZ2File,
    }
    unpack = opened.get(suffix_of(path))
    if unpack is None:
        return
    size = 0
    try:
        with unpack(path) as file:
            while size <= limit and (block := file.read(_BLOCK)):
                size += len(block)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise RefusedError(
            f"{what} is a damaged archive ({error})", "is it complete? send it again"
        ) from None
    if size > limit:
        raise TooLargeError(
            f"{what} holds more than {limit:,} bytes once unpacked", "send less, or in parts"
        )


def check_module(path: Path, name: str) -> None:
    """Raise RefusedError unless a Python module defines a class of that name; it is read and not
    run.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RefusedError(
            f"custom_data_handler is no Python module ({type(error).__name__})", "send a .py"
        ) from None
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    if name not in classes:
        raise RefusedError(
            f"custom_data_handler has no class {name!r}", f"it has: {', '.join(classes) or 'none'}"
        )
