"""The records of a run on disk, to which those of new rounds are added."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

from fusion_nb.core.files.ordinary import open_ordinary, parse_json
from fusion_nb.core.snapshot import record_from_json, record_to_json
from fusion_nb.core.types import RoundRecord
from fusion_nb.runs.checkpoints.links import Links

RECORDS = "records.jsonl"


class Records:
    """Writes the records of each checkpoint of a run, one line of JSON each.

    All checkpoints may share one file, at whose end lines are added. Each says how many bytes of it
    are its own, so that it stays what it was, even where a line could be added only in part.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        #: The records of the last checkpoint that is whole, and their bytes; and those of the next.
        self._written: tuple[Sequence[RoundRecord], int] = ((), 0)
        self._next: tuple[Sequence[RoundRecord], int] = ((), 0)

    def write(self, folder: Path, history: Sequence[RoundRecord]) -> int:
        """Write records into the folder of a new checkpoint; return their bytes. Raises OSError."""
        known, size = self._written
        # The step after the last round replaces a record.
        is_longer = len(known) <= len(history) and all(
            a is b for a, b in zip(known, history, strict=False)
        )
        if known and is_longer and self._links.take(RECORDS, folder):
            new = history[len(known) :]
        else:
            new, size = history, 0
            self._links.sums[RECORDS] = 0
        path = folder / RECORDS
        with path.open("r+b" if size else "xb") as file:
            file.truncate(size)
            file.seek(size)
            for record in new:
                line = line_of(record)
                size += file.write(line)
                self._links.sums[RECORDS] = zlib.crc32(line, self._links.sums[RECORDS])
        if new:
            self._links.on_disk.discard(RECORDS)
        self._next = (history, size)
        return size

    def is_placed(self) -> None:
        """Add to these records from now on: their checkpoint is whole."""
        self._written = self._next


def read_records(folder: Path, size: int) -> tuple[RoundRecord, ...]:
    """Return the records in the first bytes of a checkpoint's file.

    Raises OSError or ValueError.
    """
    path = folder / RECORDS
    with open_ordinary(path) as file:
        found = file.read(size) if 0 <= size <= path.stat().st_size else b""
    if len(found) != size:
        raise ValueError(f"{RECORDS} is cut short")
    return tuple(record_from_json(parse_json(line, RECORDS)) for line in found.splitlines())


def line_of(record: RoundRecord) -> bytes:
    """Return a record as a line of JSON."""
    return json.dumps(record_to_json(record), allow_nan=False).encode() + b"\n"
