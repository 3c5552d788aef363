"""The files that a checkpoint has in common with the one before it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

#: Files of fewer bytes are copied: that is as quick, and damage to one does not reach the other.
_SMALL = 64 << 10


class Links:
    """Takes files of a run's last checkpoint over into the next one, by links where they are large.

    A file with links is never written to, but for what `Records` adds at its end.
    """

    def __init__(self) -> None:
        self._last: Path | None = None
        #: Names of the files of the new checkpoint that are on the disk already.
        self.on_disk: set[str] = set()
        #: The CRC-32 of files of the new checkpoint, as far as it is known, and of the last one's.
        self.sums: dict[str, int] = {}
        self._last_sums: dict[str, int] = {}

    def begin(self) -> None:
        """Begin a new checkpoint."""
        self.on_disk, self.sums = set(), {}

    def take(self, name: str, folder: Path, as_name: str = "") -> bool:
        """Take a file over into a folder, by another name if one is given.

        Return whether it is there now: the last checkpoint may be gone.
        """
        if self._last is None:
            return False
        source, target = self._last / name, folder / (as_name or name)
        try:
            if source.stat().st_size < _SMALL or not self._link(source, target):
                shutil.copyfile(source, target)
        except FileNotFoundError:
            return False
        if name in self._last_sums:
            self.sums[target.name] = self._last_sums[name]
        return True

    def drop(self, name: str, folder: Path) -> None:
        """Take back a file that was taken over."""
        (folder / name).unlink()
        self.sums.pop(name, None)
        self.on_disk.discard(name)

    def is_placed(self, folder: Path) -> None:
        """Take the next checkpoint's files from this one, which is whole."""
        self._last, self._last_sums = folder, self.sums

    def _link(self, source: Path, target: Path) -> bool:
        with suppress(OSError):  # not every file system has links
            os.link(source, target)
            self.on_disk.add(target.name)
            return True
        return False
