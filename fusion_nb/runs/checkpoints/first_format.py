"""Reads checkpoints of format 1, which earlier versions wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_nb.core.files import tree
from fusion_nb.core.files.ordinary import open_ordinary, parse_json
from fusion_nb.core.files.safetensors_file import read_safetensors
from fusion_nb.core.snapshot import record_from_json
from fusion_nb.core.types import RoundRecord, Weights


@dataclass(frozen=True)
class Parts:
    """The contents of the files of a checkpoint beside `checkpoint.json`; see `Checkpoint`."""

    history: tuple[RoundRecord, ...]
    last: Weights
    best: Weights
    initial: Weights
    parties: Mapping[str, Any]
    fusion_state: Any
    baselines: Mapping[str, Any]
    attack: Mapping[str, Any]
    counts: Mapping[str, Any] = field(default_factory=dict)


def read_first_format(folder: Path, about: Mapping[str, Any]) -> Parts:
    """Return what lies in the files of a folder that `about` describes.

    Raises OSError, ValueError or KeyError for other files or another description.
    """
    weights = tree.restore(about["weights"], read_safetensors(folder / "weights.safetensors"))
    kept = read_safetensors(folder / "state.safetensors")
    with open_ordinary(folder / "records.jsonl") as file:
        text = file.read().decode()
    return Parts(
        history=tuple(record_from_json(parse_json(line, "records")) for line in text.splitlines()),
        last=weights["last"],
        best=weights["best"],
        initial=weights["initial"],
        parties=_parties(folder, about["parties"]),
        fusion_state=tree.restore(about["fusion_state"], kept),
        baselines=tree.restore(about["baselines"], kept),
        attack=tree.restore(about["attack"], kept),
    )


def _parties(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    names = {str(found["file"]) for found in about.values()}
    if any(Path(name).name != name for name in names):
        raise ValueError("a state lies in another folder")
    arrays = {name: read_safetensors(folder / name) for name in names}
    return {
        party: tree.restore(found["state"], arrays[found["file"]]) for party, found in about.items()
    }
