"""One checkpoint: a run after a whole round, as four files in a folder."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core import arithmetic
from fusion_nb.core.files import tree
from fusion_nb.core.files.safetensors_file import read_safetensors, write_safetensors
from fusion_nb.core.snapshot import Snapshot, record_from_json, record_to_json
from fusion_nb.core.types import RoundRecord, ServerState, Weights
from fusion_nb.errors import RunError
from fusion_nb.runs.checkpoints.party_states import PartyStates, read_party_states
from fusion_nb.version import __version__

#: Number of this layout of files; a reader refuses others.
FORMAT = 1
ABOUT, RECORDS = "checkpoint.json", "records.jsonl"
WEIGHTS, STATE = "weights.safetensors", "state.safetensors"
#: Packages whose versions are told.
_PACKAGES = ("numpy", "torch", "keras", "tensorflow", "gensim")


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on after a whole round. Its rows are not part of it.

    name:      of the run;  spec: the options that were given, as the run is planned now
    reason:    why early stopping ended the run after this round, or an empty string
    snapshot:  of the federation
    initial, best: the weights before round 1, and those of the best round
    baselines: the persistent state of each baseline, by its name
    attack:    the persistent state of an attack on weights
    rows:      the SHA-256 of each party's rows, and of the central test set by the name ""
    schema:    what rows and labels are, as JSON; empty where an earlier version wrote it
    versions:  of this package, of Python, and of the packages that were loaded
    """

    name: str
    spec: Mapping[str, Any]
    snapshot: Snapshot
    initial: Weights
    best: Weights
    reason: str = ""
    baselines: Mapping[str, Any] = field(default_factory=dict)
    attack: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, str] = field(default_factory=dict)
    schema: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def round(self) -> int:
        """The last whole round."""
        return len(self.snapshot.history)

    @property
    def planned(self) -> int:
        """The number of rounds that the run has in the end, if nothing ends it early."""
        return int(self.spec["rounds"])

    @property
    def is_finished(self) -> bool:
        """Whether no round is missing."""
        return bool(self.reason) or self.round >= self.planned

    def write(self, folder: Path, lines: Iterable[bytes], parties: PartyStates) -> None:
        """Write the four files into an empty folder, and more where parties' states are large.

        lines: the records as `line_of` makes them;  parties: writes the parties' states
        Raises OSError, or RunError for a state that is no plain data.
        """
        state = self.snapshot.state
        assert state is not None
        kept, weights = tree.Flattener(), tree.Flattener()
        about = {
            "format": FORMAT,
            "versions": _versions(),
            "name": self.name,
            "spec": dict(self.spec),
            "round": self.round,
            "early_stopping": {
                "until": self.spec.get("until", ""),
                "patience": self.spec.get("patience", 0),
                "reason": self.reason,
            },
            "changes": {str(number): dict(c) for number, c in self.snapshot.changes.items()},
            "trackers": [],
            "rows_sha256": dict(self.rows),
            "schema": dict(self.schema),
            "initial_sha256": arithmetic.digest(self.initial),
            "weights": weights.flatten(
                {"last": state.weights, "best": self.best, "initial": self.initial}, "weights"
            ),
            "fusion_state": kept.flatten(state.fusion_state, "fusion"),
            "parties": parties.write(folder, self.snapshot.parties, self.round, kept, STATE),
            "baselines": kept.flatten(dict(self.baselines), "baselines"),
            "attack": kept.flatten(dict(self.attack), "attack"),
        }
        with (folder / WEIGHTS).open("wb") as file:
            write_safetensors(file, weights.arrays)
        with (folder / STATE).open("wb") as file:
            write_safetensors(file, kept.arrays)
        with (folder / RECORDS).open("wb") as file:
            file.writelines(lines)
        (folder / ABOUT).write_text(json.dumps(about, allow_nan=False), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        """Return the checkpoint in a folder. Raises RunError for one that can't be read."""
        try:
            return cls._read(folder)
        except RunError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(
                f"the checkpoint {folder} can't be read ({error})",
                "take another one, or begin the run anew",
            ) from None

    @classmethod
    def _read(cls, folder: Path) -> Checkpoint:
        about = read_about(folder)
        weights = _tree(about["weights"], read_safetensors(folder / WEIGHTS))
        kept = read_safetensors(folder / STATE)
        text = (folder / RECORDS).read_text(encoding="utf-8")
        history = tuple(record_from_json(json.loads(line)) for line in text.splitlines())
        number = int(about["round"])
        if len(history) != number:
            raise ValueError(f"it has {len(history)} records of {number} rounds")
        state = ServerState(number, weights["last"], _tree(about["fusion_state"], kept))
        changes = {int(number): dict(values) for number, values in about["changes"].items()}
        return cls(
            name=str(about["name"]),
            spec=about["spec"],
            snapshot=Snapshot(state, history, read_party_states(folder, about["parties"]), changes),
            initial=weights["initial"],
            best=weights["best"],
            reason=str(about["early_stopping"]["reason"]),
            baselines=_tree(about["baselines"], kept),
            attack=_tree(about["attack"], kept),
            rows=about["rows_sha256"],
            schema=about.get("schema", {}),
            versions=about["versions"],
        )


def read_about(folder: Path) -> dict[str, Any]:
    """Return what `checkpoint.json` says. Raises OSError or ValueError, or RunError for another
    format.
    """
    about = dict(json.loads((folder / ABOUT).read_text(encoding="utf-8")))
    if about.get("format") != FORMAT:
        raise RunError(
            f"the checkpoint {folder} has format {about.get('format')}, and this version of "
            f"fusion_nb ({__version__}) reads format {FORMAT}",
            "use the version that wrote it",
        )
    return about


def line_of(record: RoundRecord) -> bytes:
    """Return a record as a line of JSON."""
    return json.dumps(record_to_json(record), allow_nan=False).encode() + b"\n"


def _tree(node: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    return tree.restore(node, arrays)


def _versions() -> dict[str, str]:
    found = {"fusion_nb": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        if name in sys.modules:
            found[name] = str(getattr(sys.modules[name], "__version__", ""))
    return found
