"""The files of a checkpoint: what did not change is not written again, and each round's folder
stays what it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from saved_runs import Case, assert_same, cut

from fusion_nb.core.files.safetensors_file import write_safetensors
from fusion_nb.core.files.tree import Flattener
from fusion_nb.core.types import RoundRecord
from fusion_nb.runs.checkpoints import links
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.runs.checkpoints.links import Links
from fusion_nb.runs.checkpoints.records import RECORDS, Records, line_of, read_records

OPTIONS = {"fusion": "scaffold", "fraction": 0.5, "rounds": 6}


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files of every size be linked."""
    monkeypatch.setattr(links, "_SMALL", 0)


def record(number: int) -> RoundRecord:
    return RoundRecord(number, {"loss": float("nan")}, {"a": {"loss": 0.5}}, ("a",), 0.1, 4, 4)


def folders(folder: Path) -> list[Path]:
    return CheckpointFolder(folder).rounds()


def inodes(folder: Path, name: str) -> set[int]:
    return {(path / name).stat().st_ino for path in folders(folder) if (path / name).exists()}


@pytest.mark.usefixtures("linked")
def test_what_did_not_change_is_in_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    Case(OPTIONS, is_seeded=True).start(folder)
    assert len(folders(folder)) == 6
    assert len(inodes(folder, "initial.safetensors")) == 1
    assert len(inodes(folder, RECORDS)) == 1
    assert len(inodes(folder, "weights.safetensors")) == 6
    assert len(inodes(folder, "parties-000001.safetensors")) == 1
    for number, path in enumerate(folders(folder), 1):
        found = Checkpoint.read(path)
        assert [each.round for each in found.snapshot.history] == [*range(1, number + 1)]


@pytest.mark.usefixtures("linked")
def test_a_file_system_without_links_has_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(source: Path, target: Path) -> None:
        raise OSError("no links")

    monkeypatch.setattr(links.os, "link", refuses)
    folder = tmp_path / "saved"
    case = Case(OPTIONS, is_seeded=True)
    whole = case.start(folder)
    assert len(inodes(folder, RECORDS)) == len(inodes(folder, "initial.safetensors")) == 6
    cut(folder, 4)
    assert_same(case.resume(folder), whole)


@pytest.mark.parametrize("is_small", [True, False])
def test_a_line_that_was_written_in_part_is_replaced(
    is_small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_SMALL", 1 << 20 if is_small else 0)
    taken = Links()
    records = Records(taken)
    history = [record(1), record(2)]
    sizes = []
    for number, rounds in enumerate((history, [*history, record(3)])):
        folder = tmp_path / str(number)
        folder.mkdir()
        sizes.append(records.write(folder, rounds))
        if number == 0:
            records.is_placed()
            taken.is_placed(folder)
            with (folder / RECORDS).open("ab") as file:
                file.write(line_of(record(3))[:20])  # of a round that could not be saved
    assert [len(read_records(tmp_path / str(i), sizes[i])) for i in (0, 1)] == [2, 3]
    assert (tmp_path / "1" / RECORDS).stat().st_size == sizes[1]


def test_records_are_written_anew_where_one_was_replaced(tmp_path: Path) -> None:
    taken = Links()
    records = Records(taken)
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    size = records.write(first, [record(1)])
    records.is_placed()
    taken.is_placed(first)
    other = RoundRecord(1, {"loss": 1.0, "personal_loss": 2.0}, {}, (), 0.1, 4, 4)
    longer = records.write(second, [other, record(2)])
    assert read_records(second, longer)[0].metrics == other.metrics
    assert "personal_loss" not in read_records(first, size)[0].metrics


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint.json",
        "weights.safetensors",
        "initial.safetensors",
        "state.safetensors",
        "parties-000006.safetensors",
        "records.jsonl",
    ],
)
def test_damage_to_a_file_leaves_the_checkpoint_before(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    case = Case(OPTIONS, is_seeded=True)
    whole = case.start(folder)
    path = folders(folder)[-1] / name
    path.write_bytes(path.read_bytes()[:-5])
    assert CheckpointFolder(folder).latest().round == 5
    assert_same(case.resume(folder), whole)


@pytest.mark.parametrize("key", ["weights", "parties"])
def test_files_of_another_folder_are_refused(key: str, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    Case(OPTIONS).start(folder)
    path = folders(folder)[-1] / "checkpoint.json"
    about = json.loads(path.read_text())
    other = "../round-000005/weights.safetensors"
    about[key] = dict.fromkeys(about[key], other) if key == "weights" else [other]
    path.write_text(json.dumps(about))
    assert CheckpointFolder(folder).latest().round == 5


def in_first_format(found: Checkpoint, folder: Path) -> None:
    """Write a checkpoint as earlier versions did."""
    about = json.loads((folder / "checkpoint.json").read_text())
    shutil.rmtree(folder)
    folder.mkdir()
    state = found.snapshot.state
    assert state is not None
    kept, weights = Flattener(), Flattener()
    of_parties: dict[str, Any] = {
        party: {"file": "state.safetensors", "state": kept.flatten(each, f"parties/{party}")}
        for party, each in found.snapshot.parties.items()
    }
    about |= {
        "format": 1,
        "weights": weights.flatten(
            {"last": state.weights, "best": found.best, "initial": found.initial}, "weights"
        ),
        "fusion_state": kept.flatten(state.fusion_state, "fusion"),
        "parties": of_parties,
        "baselines": kept.flatten(found.baselines, "baselines"),
        "attack": kept.flatten(found.attack, "attack"),
    }
    for name, arrays in (("weights", weights.arrays), ("state", kept.arrays)):
        with (folder / f"{name}.safetensors").open("wb") as file:
            write_safetensors(file, arrays)
    (folder / RECORDS).write_bytes(b"".join(map(line_of, found.snapshot.history)))
    (folder / "checkpoint.json").write_text(json.dumps(about))


def test_a_checkpoint_of_the_first_format_is_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    case = Case({**OPTIONS, "baseline": "central"}, is_seeded=True)
    whole = case.start(folder)
    cut(folder, 3)
    in_first_format(CheckpointFolder(folder).latest(), folders(folder)[-1])
    assert CheckpointFolder(folder).latest().round == 3
    assert_same(case.resume(folder), whole)
