"""The file of a picture: it is written whole, or one line says why not."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection
from pathlib import Path

from fusion_nb.core.files import storage
from fusion_nb.errors import ExportError


def unwritten(path: str, error: OSError) -> ExportError:
    """Return the error of a file or folder that could not be written."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free some space, or choose a folder on another disk" if is_full else ""
    return ExportError(
        f"{path!r} can't be written ({error.strerror or error})",
        hint or "choose a folder that is yours",
    )


def write_picture(
    path: str | os.PathLike[str], draw: Callable[[str], bytes], formats: Collection[str]
) -> None:
    """Write the picture that `draw(format)` returns; the file's suffix names its format.

    formats: those that it can be drawn in; a name without a suffix gets that of PNG
    Raises ExportError for another one, or where the file can't be written; a file that existed
    before is untouched then.
    """
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise ExportError(
            f"{path!r} is not the name of a file", 'give one: chart.save("chart.png")'
        )
    file = Path(path)
    if not file.suffix:
        file = file.with_name(f"{file.name}.png") if file.name else file / "chart.png"
    format = file.suffix.removeprefix(".").lower()
    if format not in formats:
        raise ExportError(
            f"a picture can't be written as {format!r}",
            f"end the name in one of: {', '.join(sorted(formats))}",
        )
    content = draw(format)
    try:
        file = file.expanduser()
        if file.exists() and not file.is_file():  # a device, which is not to be replaced
            file.write_bytes(content)
        else:
            storage.write_file(Path(os.path.realpath(file)), lambda out: out.write(content), 0o644)
    except (OSError, ValueError, RuntimeError) as error:  # of a NUL character, or no home folder
        told = error if isinstance(error, OSError) else OSError(str(error))
        raise unwritten(str(path), told) from error
