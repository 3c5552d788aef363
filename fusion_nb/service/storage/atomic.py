"""Files and folders that are there whole or not at all, whenever the process is killed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

#: What begins the name of a file or folder that is not whole yet.
DRAFT = ".draft-"


def write(path: Path, fill: Callable[[BinaryIO], object], mode: int = 0o600) -> None:
    """Write a file by `fill(file)`, and put it in its place once all of it is on the disk."""
    handle, name = tempfile.mkstemp(prefix=DRAFT, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a value as a JSON file that only its owner can read."""
    text = json.dumps(value, indent=1, allow_nan=False).encode()
    write(path, lambda file: file.write(text))


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file, or an empty one where there is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


@contextmanager
def draft(folder: Path) -> Iterator[Path]:
    """Yield a new folder to fill; `place` puts it where it belongs, and what is left of it here is
    removed.
    """
    made = Path(tempfile.mkdtemp(prefix=DRAFT, dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def place(made: Path, target: Path) -> None:
    """Put a filled folder in its place, with all that lies in it on the disk."""
    for path in made.rglob("*"):
        sync(path)
    sync(made)
    made.rename(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what a killed process left unfinished."""
    for path in folder.rglob(f"{DRAFT}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
