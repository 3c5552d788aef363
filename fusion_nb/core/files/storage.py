"""Files and folders that exist whole or not at all, even when a writing process is killed.

A file or folder is filled under another name in the same folder, written through to the disk, and
then renamed. Exports, checkpoints and the service's folders are written in this way.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fusion_nb.core.files.ordinary import read_json_file
from fusion_nb.core.types import Weights

#: The first characters in the name of a file or folder that is not whole yet.
DRAFT = ".draft-"


def write_file(path: Path, fill: Callable[[BinaryIO], object], mode: int = 0o600) -> None:
    """Write a file by `fill(file)`, and rename it to `path` once all of it is on the disk.

    Raises OSError; a file that existed before is untouched then.
    """
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
    write_file(path, lambda file: file.write(text))


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON file, or an empty one where the file does not exist.

    Raises OSError, ValueError or TypeError for another file.
    """
    try:
        return dict(read_json_file(path))
    except FileNotFoundError:
        return {}


def write_npz(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as an .npz file; unlike numpy's own function it takes any name, `file`
    included.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def read_npz(path: Path | BinaryIO) -> Weights:
    """Return the arrays in a file that `write_npz` wrote. Nothing in the file is executed."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


@contextmanager
def draft_folder(parent: Path, prefix: str = DRAFT) -> Iterator[Path]:
    """Yield a new folder to fill. `place_folder` moves it to its place; otherwise it is removed.

    parent: the folder that it lies in, which must be on the same disk as its later place
    """
    draft = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def place_folder(
    draft: Path,
    target: Path,
    *,
    replace: bool = False,
    mode: int | None = None,
    on_disk: Collection[str] = (),
) -> None:
    """Move a filled folder to its place, once all files in it are on the disk.

    replace: an older folder there is removed after the new one has taken its place
    mode:    permissions of the folder; by default only its owner can read it
    on_disk: names of files that are on the disk already, since they are links of others
    Raises OSError; an older folder is kept then, in its place if it can be moved back.
    """
    if mode is not None:
        draft.chmod(mode)
    for folder, folders, files in os.walk(draft):
        for name in (*folders, *files):
            if name not in on_disk:
                sync(os.path.join(folder, name))
    sync(draft)
    if replace and target.exists():
        _swap(draft, target)
    else:
        draft.rename(target)
    sync(target.parent)


def sync(path: str | Path) -> None:
    """Wait until a file or folder is on the disk."""
    if os.name == "nt":  # Windows can't open a folder, nor sync a file opened for reading
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_drafts(folder: Path) -> None:
    """Remove the unfinished files and folders that a killed process left in a folder."""
    for path in folder.rglob(f"{DRAFT}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _swap(draft: Path, target: Path) -> None:
    """Move the draft to the target's place. The older folder is removed only after that."""
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    older = aside / "export"
    target.rename(older)
    try:
        draft.rename(target)
    except OSError:
        # If this fails too, the older folder stays where it is: nothing is deleted.
        older.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)
