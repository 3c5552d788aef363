"""The folder of one aggregator: its registration, the progress of its run, and its weights.

aggregator.json       the client that started it, its type of model and its options
model.pt|.keras|...   the uploaded model;  test.npz: the aggregator's own test rows
parties/0001/         party.json, data.npz|..., handler.py
run.json              the state of the run, written by the server
begun.json            notes and settings of the run, and outcome.json: its end; both written by the
                      training process
rounds.jsonl          one record a line
weights-3.npz         the fused weights of round 3;  best-2.npz: those of the best round
trained.pt|...        a model into which any of these weights can be loaded
checkpoint/           the state of the run after its last whole rounds, parties' states included
log.txt               output of the training process
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from fusion_nb.core.files import storage
from fusion_nb.core.types import Weights
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.service.errors import UnknownError
from fusion_nb.service.model_types import MODEL_FILES

#: Which weights: those of the last whole round, or of the best one.
Which = Literal["last", "best"]
_PREFIX: dict[Which, str] = {"last": "weights", "best": "best"}
_NUMBERED = re.compile(r"-(\d+)\.npz$")
_CHECKPOINT = "checkpoint"
#: Files of an earlier run, which are removed before a run begins anew.
_OF_A_RUN = (
    _CHECKPOINT,
    "rounds.jsonl",
    "begun.json",
    "outcome.json",
    "weights-*",
    "best-*",
    "trained.*",
    "model-*",
)
#: Files that may hold or quote rows or hold parties' states, beside those of parties.
_OF_PARTIES = ("test.npz", "log.txt", _CHECKPOINT)


class RunFolder:
    """The files of one aggregator. Every file is read whole, even after its writer was killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parties = path / "parties"

    @property
    def about(self) -> dict[str, Any]:
        """The client that started the aggregator, its type of model, and its options."""
        return storage.read_json(self.path / "aggregator.json")

    @property
    def model(self) -> Path:
        """The model that the client uploaded."""
        return self.path / MODEL_FILES[self.about["model_type"]]

    @property
    def trained(self) -> Path:
        """The model that the run wrote, into which its weights can be loaded."""
        return self.path / f"trained{self.model.suffix}"

    @property
    def test(self) -> Path | None:
        """The aggregator's own test rows, or None."""
        path = self.path / "test.npz"
        return path if path.exists() else None

    @property
    def checkpoint(self) -> CheckpointFolder:
        """The folder of the run's checkpoints."""
        return CheckpointFolder(self.path / _CHECKPOINT)

    @property
    def has_checkpoint(self) -> bool:
        """Whether a run that was cut short can go on, unless its checkpoint can't be used."""
        return bool(self.checkpoint.rounds())

    def registered(self) -> list[dict[str, Any]]:
        """Return the description of each party, in the order of registration."""
        found = sorted(path for path in self.parties.iterdir() if (path / "party.json").exists())
        return [{**storage.read_json(path / "party.json"), "path": path} for path in found]

    def delete_data(self) -> None:
        """Delete all uploads and states of parties; their descriptions stay.

        Raises the first OSError once all that can be deleted is.
        """
        paths = [self.path / name for name in _OF_PARTIES]
        for party in self.parties.iterdir():
            paths += [path for path in party.iterdir() if path.name != "party.json"]
        errors = []
        for path in paths:
            try:
                _delete(path)
            except OSError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def is_deleted(self) -> bool:
        """Return whether the upload of a party is gone, which only an end deletes."""
        return any(
            not (party["path"] / party["file"]).exists()
            for party in self.registered()
            if "file" in party
        )

    def delete_run(self) -> None:
        """Delete the files of an earlier run."""
        for pattern in _OF_A_RUN:
            for path in self.path.glob(pattern):
                _delete(path)

    def add_record(self, line: str) -> None:
        """Append a record to the rounds, on the disk when this returns."""
        with (self.path / "rounds.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def save_round(self, number: int, line: str, weights: Weights, is_best: bool) -> None:
        """Store a round's weights and then its record, so that every record has its weights."""
        prefixes = ["weights", "best"] if is_best else ["weights"]
        for prefix in prefixes:
            path = self.path / f"{prefix}-{number}.npz"
            storage.write_file(path, lambda file: storage.write_npz(file, weights))
        self.add_record(line)
        for prefix in prefixes:
            for path in self.path.glob(f"{prefix}-*.npz"):
                if _number(path) < number:
                    path.unlink()

    def records(self, start: int = 0) -> tuple[list[str], int]:
        """Return the whole records from a position in the file on, and the position of their end.

        The metrics of post-training come as a second record of the last round, which replaces the
        first.
        """
        try:
            with (self.path / "rounds.jsonl").open("rb") as file:
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
        files = [(_number(path), path) for path in self.path.glob(f"{_PREFIX[which]}-*.npz")]
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
        """Remove the half-written line and files of a process that was killed."""
        storage.remove_drafts(self.path)
        path = self.path / "rounds.jsonl"
        if path.exists():
            _, end = self.records()
            if end < path.stat().st_size:
                with path.open("rb+") as file:
                    file.truncate(end)

    def remove(self) -> None:
        """Remove the folder with all its files."""
        shutil.rmtree(self.path, ignore_errors=True)


def run_folders(state: Path) -> Iterator[RunFolder]:
    """Yield the folders of all aggregators in a service's state."""
    for path in sorted((state / "aggregators").iterdir()):
        if (path / "aggregator.json").exists():
            yield RunFolder(path)


def round_of(line: str) -> int:
    """Return the number of a record's round."""
    return int(json.loads(line)["round"])


def _delete(path: Path) -> None:
    """Delete a file, or a folder that a data handler made."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _number(path: Path) -> int:
    found = _NUMBERED.search(path.name)
    return int(found[1]) if found else 0
