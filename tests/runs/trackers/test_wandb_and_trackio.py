"""Weights & Biases offline, and trackio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tracked import federate

from fusion_nb.errors import RunError
from fusion_nb.runs.experiments.comparing.gathering import entries_in

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def records(folder: Path) -> list[Any]:
    """Return the records of the only offline run in a folder, as wandb's own protobuf has them.

    The file is LevelDB's log after a header of 7 bytes: blocks of 32 KiB, in which each part of a
    record has 7 bytes of checksum, length and kind before it.
    """
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, place, whole, found = path.read_bytes(), 7, b"", []
    while place + 7 < len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            found.append(wandb_internal_pb2.Record.FromString(whole))
            whole = b""
    return found


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = federate(log=f"wandb:folder={tmp_path},project=small")
    assert not any("went on without" in note for note in run.notes), run.notes
    assert any("wandb sync" in note for note in run.notes)
    found = records(tmp_path)
    (started,) = (record.run for record in found if record.WhichOneof("record_type") == "run")
    assert (started.project, started.display_name) == ("small", "run")
    steps = [record.history for record in found if record.WhichOneof("record_type") == "history"]
    losses = [
        float(item.value_json)
        for history in steps
        for item in history.item
        if "loss" in (item.key, *item.nested_key)
    ]
    assert losses == pytest.approx(run.history["loss"])
    (ended,) = (record.exit for record in found if record.WhichOneof("record_type") == "exit")
    assert ended.exit_code == 0


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    pytest.importorskip("trackio")
    run = federate(log="trackio:project=small")
    run.more(1).wait()
    assert not any("went on without" in note for note in run.notes), run.notes
    assert any(tmp_path.rglob("*small*"))
    (entry,) = entries_in({"kept": "trackio:project=small"})
    assert (entry.label, entry.seed, entry.monitor) == ("kept", 0, "accuracy")
    assert entry.history["loss"] == run.history["loss"]
    with pytest.raises(RunError, match="no project 'other'"):
        entries_in(["trackio:project=other"])
