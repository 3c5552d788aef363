"""Names of files and folders that every file system takes, so that a folder can be copied."""

from __future__ import annotations

import os
from pathlib import Path

#: Characters that Windows and its file systems keep for themselves.
_RESERVED = set('<>:"|?*\\')
#: Names of devices on Windows, with any suffix.
_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{device}{number}" for device in ("com", "lpt") for number in (*range(1, 10), "¹", "²", "³")
}
#: Bytes of one name, with room for what is added while it is written; of names of folders that may
#: exist already; and of a whole path.
_MAX_NAME, _MAX_FOLDER, _MAX_PATH = 200, 255, 4000


def fault_of(path: Path) -> str:
    """Return why some file system would not take the last name of a path, or "".

    The folders before it may exist already, so only what no file system takes is said of them.

    >>> fault_of(Path("runs/fused")), fault_of(Path("runs/what?")), fault_of(Path("aux.1"))
    ('', "it holds '?'", "'aux' is a device on Windows")
    """
    try:
        sizes = [len(os.fsencode(part)) for part in path.parts]
        is_long = len(os.fsencode(path)) > _MAX_PATH
    except UnicodeEncodeError:
        return "it holds characters that are none of Unicode"
    if any("\0" in part for part in path.parts):
        return "it holds a NUL character"
    if is_long or any(size > _MAX_FOLDER for size in sizes):
        return f"it is too long ({max(sizes)} bytes, and {_MAX_NAME} are allowed)"
    return _fault_of_name(path.name)


def _fault_of_name(name: str) -> str:
    if (size := len(os.fsencode(name))) > _MAX_NAME:
        return f"it is too long ({size} bytes, and {_MAX_NAME} are allowed)"
    for character in name:
        if ord(character) < 32 or ord(character) == 127:
            return f"it holds a control character ({ord(character):#04x})"
        if character in _RESERVED:
            return f"it holds {character!r}"
    if name not in ("", ".", "..") and name[-1] in ". ":
        return "it ends with a dot or a blank"
    first = name.partition(".")[0].rstrip(" ")
    return f"{first!r} is a device on Windows" if first.lower() in _DEVICES else ""
