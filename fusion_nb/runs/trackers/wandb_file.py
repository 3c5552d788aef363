"""Reads the files of runs that Weights & Biases keeps offline, by wandb's own protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_nb.core.protocols.tracker import StoredRun
from fusion_nb.core.types import Metrics
from fusion_nb.errors import RunError
from fusion_nb.runs.trackers.rounds_read import is_tag

#: The file is a log of LevelDB behind a header: blocks, in which each part of a record has a head
#: of checksum, length and kind before it. A part of these kinds ends a record.
_FILE_HEAD, _PART_HEAD, _BLOCK, _LAST = 7, 7, 32768, (1, 4)


@dataclass
class _Read:
    """A run as its files tell it: those of a resumed run are several."""

    name: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    rounds: dict[int, Metrics] = field(default_factory=dict)


def stored_runs(folder: Path) -> list[StoredRun]:
    """Return the runs of all offline folders inside a folder."""
    found: dict[str, _Read] = {}
    for path in sorted(folder.rglob("run-*.wandb"), key=lambda path: path.stat().st_mtime):
        run_id = path.stem.removeprefix("run-")
        read = found.setdefault(run_id, _Read())
        for record in _records(path):
            _take(read, record)
    return [
        StoredRun(
            read.name,
            {name: v for name, v in read.config.items() if not is_tag(name)},
            {name: str(v) for name, v in read.config.items() if is_tag(name)},
            read.rounds,
        )
        for read in found.values()
    ]


def _take(read: _Read, record: Any) -> None:
    """Take over what a record tells of a run."""
    kind = record.WhichOneof("record_type")
    if kind == "run":
        read.name = record.run.display_name
        items = record.run.config.update
    elif kind == "config":
        items = record.config.update
    elif kind == "history":
        _take_round(read, record.history)
        return
    else:
        return
    for item in items:
        read.config[item.key or ".".join(item.nested_key)] = json.loads(item.value_json)


def _take_round(read: _Read, history: Any) -> None:
    metrics = {}
    for item in history.item:
        name, value = item.key or ".".join(item.nested_key), json.loads(item.value_json)
        if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
            value = float(value)
        if not name.startswith("_") and isinstance(value, int | float):
            metrics[name] = float(value)
    if metrics:
        read.rounds[int(history.step.num)] = metrics


def _records(path: Path) -> Iterator[Any]:
    """Yield the records of a file; one that was cut short at its end is left out."""
    from wandb.proto import wandb_internal_pb2

    data, place, whole = path.read_bytes(), _FILE_HEAD, b""
    if not data.startswith(b":W&B"):
        raise RunError(f"{path} is no file of wandb", "name a folder with offline-run-* in it")
    while place + _PART_HEAD < len(data):
        left = _BLOCK - place % _BLOCK
        if left < _PART_HEAD:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        part = data[place + _PART_HEAD : place + _PART_HEAD + length]
        if len(part) < length:
            return
        whole += part
        place += _PART_HEAD + length
        if kind in _LAST:
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""
