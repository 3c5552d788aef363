"""The files of a run's checkpoints: each takes over from the last what did not change."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from fusion_nb.core import arithmetic
from fusion_nb.core.files.ordinary import crc32_of
from fusion_nb.core.files.storage import draft_folder, place_folder
from fusion_nb.core.files.tree_file import write_tree
from fusion_nb.core.process.garbage import collected_later
from fusion_nb.core.types import Weights
from fusion_nb.runs.checkpoints.checkpoint import ABOUT, FORMAT, STATE, Checkpoint
from fusion_nb.runs.checkpoints.links import Links
from fusion_nb.runs.checkpoints.party_states import PartyStates
from fusion_nb.runs.checkpoints.records import Records
from fusion_nb.runs.checkpoints.versions import loaded_versions

#: The files of the weights after the last round, of the best ones, and of those before round 1.
LAST, BEST, INITIAL = "weights.safetensors", "best.safetensors", "initial.safetensors"


class CheckpointFiles:
    """Writes the checkpoints of one run, one after the other, each into a folder of its own."""

    def __init__(self) -> None:
        self._links = Links()
        self._parties, self._records = PartyStates(self._links), Records(self._links)
        self._weights = _WeightsFiles(self._links)

    def write(self, checkpoint: Checkpoint, target: Path, replaces: Iterable[str] = ()) -> None:
        """Write a checkpoint into the folder `target`, which is whole after that, or as it was.

        replaces: ids of the runs whose rounds are removed from the folder after that
        Raises OSError, or RunError for a state that is no plain data.
        """
        with collected_later(), draft_folder(target.parent) as draft:
            self._links.begin()
            self._weights.begin()
            self._fill(draft, checkpoint, replaces)
            place_folder(draft, target, replace=True, on_disk=self._links.on_disk)
        for part in (self._parties, self._records, self._weights):
            part.is_placed()
        self._links.is_placed(target)

    def _fill(self, folder: Path, checkpoint: Checkpoint, replaces: Iterable[str]) -> None:
        snapshot, spec = checkpoint.snapshot, checkpoint.spec
        state = snapshot.state
        assert state is not None
        kept = {
            "fusion": state.fusion_state,
            "baselines": dict(checkpoint.baselines),
            "attack": dict(checkpoint.attack),
            **({"counts": dict(snapshot.counts)} if snapshot.counts else {}),
        }
        about = {
            "format": FORMAT,
            "versions": loaded_versions(),
            "run_id": checkpoint.run_id,
            "replaces": sorted(replaces),
            "name": checkpoint.name,
            "spec": dict(spec),
            "round": checkpoint.round,
            "early_stopping": {
                "until": spec.get("until", ""),
                "patience": spec.get("patience", 0),
                "reason": checkpoint.reason,
            },
            "changes": {str(number): dict(c) for number, c in snapshot.changes.items()},
            "trackers": [checkpoint.tracking] if checkpoint.tracking else [],
            "rows_sha256": dict(checkpoint.rows),
            "training": checkpoint.training.to_json(),
            "schema": dict(checkpoint.schema),
            "initial_sha256": self._weights.digest_of(checkpoint.initial),
            "weights": {
                "last": self._weights.write(folder, LAST, state.weights),
                "best": self._weights.write(folder, BEST, checkpoint.best),
                "initial": self._weights.write(folder, INITIAL, checkpoint.initial),
            },
            "parties": self._parties.write(folder, snapshot.parties, checkpoint.round),
            "records_bytes": self._records.write(folder, snapshot.history),
        }
        write_tree(folder / STATE, kept, "state")
        # Half of a copy, and files of another round or run, are told by these.
        sums = self._links.sums
        sums |= {path.name: crc32_of(path) for path in folder.iterdir() if path.name not in sums}
        about["crc32"] = sums
        (folder / ABOUT).write_text(json.dumps(about, allow_nan=False), encoding="utf-8")


class _WeightsFiles:
    """Writes weights, each of them once: those that a file holds already are taken over."""

    def __init__(self, links: Links) -> None:
        self._links = links
        #: The files of the last checkpoint that is whole, with the weights in each; and the next.
        self._written: dict[str, Weights] = {}
        self._next: dict[str, Weights] = {}
        self._digest: tuple[Weights | None, str] = (None, "")

    def write(self, folder: Path, name: str, weights: Weights) -> str:
        """Write weights into the folder of a new checkpoint; return the file that they are in."""
        if file := _holder(self._next, weights):
            return file
        before = _holder(self._written, weights)
        if not (before and self._links.take(before, folder, name)):
            write_tree(folder / name, weights, "weights")
        self._next[name] = weights
        return name

    def begin(self) -> None:
        """Begin a new checkpoint."""
        self._next = {}

    def is_placed(self) -> None:
        """Take weights over from this checkpoint from now on: it is whole."""
        self._written = self._next

    def digest_of(self, weights: Weights) -> str:
        """Return the SHA-256 of weights; that of the ones asked for last is kept."""
        if self._digest[0] is not weights:
            self._digest = (weights, arithmetic.digest(weights))
        return self._digest[1]


def _holder(files: dict[str, Weights], weights: Weights) -> str:
    """Return the file that holds weights, or ""."""
    return next((name for name, held in files.items() if held is weights), "")
