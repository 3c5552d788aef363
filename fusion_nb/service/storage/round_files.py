"""The files of a run's rounds in an aggregator's folder: their records, and the latest weights."""

from __future__ import annotations

import io
import json
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Literal

from fusion_nb.core.files import storage
from fusion_nb.core.types import Weights
from fusion_nb.service.errors import UnknownError

#: Which weights: those of the last whole round, or of the best one.
Which = Literal["last", "best"]
_PREFIX: dict[Which, str] = {"last": "weights", "best": "best"}
_NUMBERED = re.compile(r"-(\d+)\.npz$")


class RoundFiles:
    """The records of all rounds, and the weights of the last one and of the best.

    A round's weights are written before its record, so that every record has its weights.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, line: str) -> None:
        """Append a record to the rounds, on the disk when this returns."""
        with (self._folder / "rounds.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def save(self, number: int, line: str, weights: Weights, is_best: bool) -> None:
        """Store a round's weights and then its record, so that every record has its weights."""
        prefixes = ["weights", "best"] if is_best else ["weights"]
        for prefix in prefixes:
            path = self._folder / f"{prefix}-{number}.npz"
            storage.write_file(path, lambda file: storage.write_npz(file, weights))
        self.add(line)
        for prefix in prefixes:
            for path in self._folder.glob(f"{prefix}-*.npz"):
                if _number(path) < number:
                    path.unlink()

    def records(self, start: int = 0) -> tuple[list[str], int]:
        """Return the whole records from a position in the file on, and the position of their end.

        The metrics of post-training come as a second record of the last round, which replaces the
        first.
        """
        try:
            with (self._folder / "rounds.jsonl").open("rb") as file:
                file.seek(start)
                text = file.read()
        except FileNotFoundError:
            return [], 0
        whole = text[: text.rfind(b"\n") + 1]
        lines = whole.decode().splitlines()
        while len(lines) > 1 and round_of(lines[-1]) == round_of(lines[-2]):
            del lines[-2]
        return lines, start + len(whole)

    def weights_file(self, which: Which = "last") -> tuple[Path, int]:
        """Return the file of the last or best weights, and their round.

        Raises UnknownError before the first whole round.
        """
        # Files first, then records: every file that is found has its record by then, unless its
        # writer was killed between the two.
        files = [(_number(path), path) for path in self._folder.glob(f"{_PREFIX[which]}-*.npz")]
        lines, _ = self.records()
        last = round_of(lines[-1]) if lines else 0
        recorded = sorted((number, path) for number, path in files if number <= last)
        if not recorded:
            raise UnknownError("there are no weights yet", "wait for the first whole round")
        number, path = recorded[-1]
        return path, number

    def read(self, which: Which = "last") -> tuple[bytes, int]:
        """Return the last or best weights as the content of an .npz, and their round.

        Raises UnknownError before the first whole round.
        """
        while True:
            path, number = self.weights_file(which)
            with suppress(FileNotFoundError):  # replaced by those of a further round
                return path.read_bytes(), number

    def read_weights(self, which: Which = "last") -> tuple[Weights, int]:
        """Return the last or best weights as arrays, and their round."""
        content, number = self.read(which)
        return storage.read_npz(io.BytesIO(content)), number

    def repair(self) -> None:
        """Remove the half-written line of a process that was killed."""
        path = self._folder / "rounds.jsonl"
        if path.exists():
            _, end = self.records()
            if end < path.stat().st_size:
                with path.open("rb+") as file:
                    file.truncate(end)


def round_of(line: str) -> int:
    """Return the number of a record's round."""
    return int(json.loads(line)["round"])


def _number(path: Path) -> int:
    found = _NUMBERED.search(path.name)
    return int(found[1]) if found else 0
