"""The folder of one aggregator: its registration, the progress of its run, and its weights.

aggregator.json       the client that started it, its type of model and its options
model.pt|.keras|...   the uploaded model;  test.npz: the aggregator's own test rows
parties/0001/         party.json, data.npz|..., handler.py; of a party that keeps its rows the facts
                      about them, and its messages in mail/
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

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fusion_nb.core.files import storage
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.service.model_types import MODEL_FILES
from fusion_nb.service.storage.round_files import RoundFiles

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
    """The files of one aggregator. Every file is read whole, even after its writer was killed.

    parties: the folder of their folders;  rounds: the records and weights of the run
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parties = path / "parties"
        self.rounds = RoundFiles(path)

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

    @property
    def keeps_rows(self) -> bool:
        """Whether the parties keep their rows."""
        return any(party.get("keeps_rows") for party in self.registered())

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

    def repair(self) -> None:
        """Remove the half-written line and files of a process that was killed."""
        storage.remove_drafts(self.path)
        self.rounds.repair()

    def remove(self) -> None:
        """Remove the folder with all its files."""
        shutil.rmtree(self.path, ignore_errors=True)


def run_folders(state: Path) -> Iterator[RunFolder]:
    """Yield the folders of all aggregators in a service's state."""
    for path in sorted((state / "aggregators").iterdir()):
        if (path / "aggregator.json").exists():
            yield RunFolder(path)


def _delete(path: Path) -> None:
    """Delete a file, or a folder that a data handler made."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
