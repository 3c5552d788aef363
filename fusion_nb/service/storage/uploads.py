"""Uploaded files: stored under names of the server's own, and measured before they are unpacked.

Only `store` runs in the server. Everything else runs in the process that inspects uploads, because
an archive's table of contents alone may exhaust memory.
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

from fusion_nb.core.files.file_sizes import unpacked_bytes
from fusion_nb.service.errors import RefusedError, TooLargeError

#: Maximum number of files in one archive: an .npz has one per array, a model one per weight.
_MAX_ENTRIES = 100_000
_BLOCK = 1 << 20


def store(upload: BinaryIO, target: Path) -> None:
    """Copy an upload into a new file that only its owner can read."""
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(upload, file, _BLOCK)


def suffix_of(path: Path) -> str:
    """Return the suffix that a data file should have, by its first bytes; its name is ignored."""
    with path.open("rb") as file:
        first = file.read(512)
    if first.startswith(b"PK"):
        return ".npz"
    if first.startswith(b"\x1f\x8b"):
        return ".jsonl.gz"
    if first.startswith(b"BZh"):
        return ".xml.bz2"
    return ".xml" if first.lstrip().startswith(b"<") else ".jsonl"


def check_unpacked(path: Path, field: str, limit: int) -> None:
    """Raise TooLargeError for an archive with more than `limit` bytes after unpacking.

    A zip file declares the size of each entry, and readers never read more than that; other
    archives are read to their end.
    field: the field of the upload, for messages
    """
    if zipfile.is_zipfile(path):
        _check_zip(path, field, limit)
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
        raise _damaged(field, error) from None
    if size > limit:
        raise _too_large(field, limit)


def _check_zip(path: Path, field: str, limit: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise _damaged(field, error) from None
    if len(entries) > _MAX_ENTRIES or unpacked_bytes(entries) > limit:
        raise _too_large(field, limit)


def _damaged(field: str, error: Exception) -> RefusedError:
    return RefusedError(f"{field} is a damaged archive ({error})", "send the complete file again")


def _too_large(field: str, limit: int) -> TooLargeError:
    return TooLargeError(
        f"{field} holds more than {limit:,} bytes after unpacking", "send less, or in parts"
    )


def check_module(path: Path, name: str) -> None:
    """Raise RefusedError unless a Python module defines a class of that name.

    The module is parsed and not run.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RefusedError(
            f"custom_data_handler is no Python module ({type(error).__name__})", "send a .py file"
        ) from None
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    if name not in classes:
        raise RefusedError(
            f"custom_data_handler has no class {name!r}",
            f"it has: {', '.join(classes) or 'none'}",
            allowed=classes,
        )
