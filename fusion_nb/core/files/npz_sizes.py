"""The sizes that an `.npz` file declares, compared with what it holds before arrays are made."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fusion_nb.core.files.file_sizes import (
    VARIABLE,
    count_bytes,
    limit_for,
    spelled,
    unpacked_bytes,
)
from fusion_nb.errors import DataError

#: Rows that are packed to less than this share of their bytes are refused where they are large.
_MULTIPLE = 100


def check_npz(path: Path, file: BinaryIO) -> None:
    """Raise DataError for a file that is packed too tightly, or declares numbers that it lacks.

    Raises what zipfile and numpy raise for a damaged file.
    """
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        size = path.stat().st_size
        declared, limit = unpacked_bytes(entries), limit_for(size, multiple=_MULTIPLE)
        if declared > limit:
            raise DataError(
                f"{path} is refused: it would take {spelled(declared)}, and a file of "
                f"{spelled(size)} may take {spelled(limit)}",
                f"if you trust it, set the environment variable {VARIABLE}={declared} (bytes) and "
                "read it again",
            )
        for entry in entries:
            if entry.filename.endswith(".npy"):
                _check_array(archive, entry)


def _check_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        is_first = version == (1, 0)
        read = np.lib.format
        header = read.read_array_header_1_0 if is_first else read.read_array_header_2_0
        shape, _, dtype = header(file)
    # Empty texts take no bytes, but an object each once they are read.
    if count_bytes(shape, max(1, dtype.itemsize)) > entry.file_size and not dtype.hasobject:
        raise ValueError(f"{entry.filename} declares more than it holds")
