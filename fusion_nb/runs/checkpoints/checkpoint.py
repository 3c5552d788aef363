"""One checkpoint: a run after a whole round, as it is read from a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_nb.core.files.tree_file import read_tree
from fusion_nb.core.snapshot import Snapshot
from fusion_nb.core.types import ServerState, Weights
from fusion_nb.errors import RunError
from fusion_nb.runs.checkpoints.first_format import Parts, read_first_format
from fusion_nb.runs.checkpoints.party_states import read_party_states
from fusion_nb.runs.checkpoints.records import read_records
from fusion_nb.version import __version__

#: Number of this layout of files, and those that are read.
FORMAT = 2
_READABLE = (1, 2)
ABOUT, STATE = "checkpoint.json", "state.safetensors"


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
    tracking:  the id by which trackers know the run, or ""
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
    tracking: str = ""
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
        parts = read_first_format(folder, about) if about["format"] == 1 else _parts(folder, about)
        number = int(about["round"])
        if len(parts.history) != number:
            raise ValueError(f"it has {len(parts.history)} records of {number} rounds")
        state = ServerState(number, parts.last, parts.fusion_state)
        changes = {int(number): dict(values) for number, values in about["changes"].items()}
        return cls(
            name=str(about["name"]),
            spec=about["spec"],
            snapshot=Snapshot(state, parts.history, parts.parties, changes, parts.counts),
            initial=parts.initial,
            best=parts.best,
            reason=str(about["early_stopping"]["reason"]),
            baselines=parts.baselines,
            attack=parts.attack,
            rows=about["rows_sha256"],
            schema=about.get("schema", {}),
            tracking=str(next(iter(about.get("trackers", ())), "")),
            versions=about["versions"],
        )


def read_about(folder: Path) -> dict[str, Any]:
    """Return what `checkpoint.json` says. Raises OSError or ValueError, or RunError for another
    format.
    """
    about = dict(json.loads((folder / ABOUT).read_text(encoding="utf-8")))
    if about.get("format") not in _READABLE:
        raise RunError(
            f"the checkpoint {folder} has format {about.get('format')}, and this version of "
            f"fusion_nb ({__version__}) reads formats {_READABLE[0]} to {_READABLE[-1]}",
            "use the version that wrote it",
        )
    return about


def _parts(folder: Path, about: Mapping[str, Any]) -> Parts:
    files = about["weights"]
    if any(Path(name).name != name for name in files.values()):
        raise ValueError("weights lie in another folder")
    # Those that are the same are in one file.
    weights = {name: read_tree(folder / name) for name in set(files.values())}
    kept = read_tree(folder / STATE)
    return Parts(
        history=read_records(folder, int(about["records_bytes"])),
        last=weights[files["last"]],
        best=weights[files["best"]],
        initial=weights[files["initial"]],
        parties=read_party_states(folder, about["parties"]),
        fusion_state=kept["fusion"],
        baselines=kept["baselines"],
        attack=kept["attack"],
        counts=kept.get("counts", {}),
    )
