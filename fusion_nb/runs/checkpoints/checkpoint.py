"""One checkpoint: a run after a whole round, as it is read from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_nb.core.files.ordinary import crc32_of, read_json_file
from fusion_nb.core.files.tree_file import read_tree
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.snapshot import Snapshot
from fusion_nb.core.types import ServerState, Weights
from fusion_nb.errors import RunError
from fusion_nb.runs.checkpoints.first_format import Parts, read_first_format
from fusion_nb.runs.checkpoints.identity import TrainingIdentity
from fusion_nb.runs.checkpoints.party_states import read_party_states
from fusion_nb.runs.checkpoints.records import RECORDS, read_records
from fusion_nb.version import __version__

#: Number of this layout of files, and those that are read.
FORMAT = 2
_READABLE = (1, 2)
ABOUT, STATE = "checkpoint.json", "state.safetensors"
#: The errors that reading a damaged folder ends in.
DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


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
    training:  the identity of model, loss and optimizer; empty where an earlier version wrote it
    run_id:    random, the same in all rounds of a run; "" where an earlier version wrote it
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
    training: TrainingIdentity = field(default_factory=TrainingIdentity)
    run_id: str = ""

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
        except DAMAGED as error:
            raise RunError(
                f"the checkpoint {folder} can't be read ({error})",
                "take another one, or begin the run anew",
            ) from None

    @classmethod
    def _read(cls, folder: Path) -> Checkpoint:
        about = read_about(folder)
        parts = read_first_format(folder, about) if about["format"] == 1 else _parts(folder, about)
        number = int(about["round"])
        if [record.round for record in parts.history] != [*range(1, number + 1)]:
            raise ValueError(f"it has {len(parts.history)} records, not those of {number} rounds")
        state = ServerState(number, parts.last, parts.fusion_state)
        changes = {int(number): dict(values) for number, values in about["changes"].items()}
        return cls(
            name=_text(about["name"]),
            spec={**about["spec"], "rounds": int(about["spec"]["rounds"])},
            snapshot=Snapshot(state, parts.history, parts.parties, changes, parts.counts),
            initial=parts.initial,
            best=parts.best,
            reason=_text(about["early_stopping"]["reason"]),
            baselines=parts.baselines,
            attack=parts.attack,
            rows=dict(about["rows_sha256"]),
            schema=_schema(about),
            tracking=str(next(iter(about.get("trackers", ())), "")),
            versions=dict(about["versions"]),
            training=TrainingIdentity.from_json(about.get("training", {})),
            run_id=_text(about.get("run_id", "")),
        )


def read_about(folder: Path) -> dict[str, Any]:
    """Return what `checkpoint.json` says. Raises OSError or ValueError, or RunError for another
    format.
    """
    about = dict(read_json_file(folder / ABOUT))
    if about.get("format") not in _READABLE:
        raise RunError(
            f"the checkpoint {folder} has format {about.get('format')}, and this version of "
            f"fusion_nb ({__version__}) reads formats {_READABLE[0]} to {_READABLE[-1]}",
            "use the version that wrote it",
        )
    return about


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise TypeError(f"{found!r} is no text")
    return found


def _schema(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema, which can be read again."""
    found = dict(about.get("schema", {}))
    if found:
        DataSchema.from_json(found)
    return found


def _check_sums(folder: Path, about: Mapping[str, Any]) -> None:
    """Raise ValueError for a file that is not the one which was written with the others.

    Earlier versions wrote no sums.
    """
    for name, expected in dict(about.get("crc32", {})).items():
        if Path(name).name != name:
            raise ValueError("a file lies in another folder")
        # Records of later rounds may follow.
        size = int(about["records_bytes"]) if name == RECORDS else None
        if crc32_of(folder / name, size) != expected:
            raise ValueError(f"{name} is damaged, or of another round")


def _parts(folder: Path, about: Mapping[str, Any]) -> Parts:
    _check_sums(folder, about)
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
