"""Rounds of another run in a folder: none is trained on, and one line says whose each is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from saved_runs import Case, assert_same, both_saved, cut, run_in

from fusion_nb import Run
from fusion_nb.errors import OptionError, RunError
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.runs.checkpoints.resume import SavedSpec
from fusion_nb.runs.checkpoints.saving import SavedRun

CASE = Case({"rounds": 3, "parties": 2}, is_seeded=True)
OTHER = Case({"rounds": 5, "parties": 2, "lr": 0.3}, is_seeded=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, Run]]:
    """A run and another one, on disk, and the first as it ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FUSION_NB_CHECKPOINT", "off")
        yield both_saved(tmp_path_factory.mktemp("runs"), CASE, OTHER)


@pytest.fixture
def folder(saved: tuple[Path, Path, Run], tmp_path: Path) -> Path:
    """A copy of the first run's folder, cut after round 2."""
    found = Path(shutil.copytree(saved[0], tmp_path / "copy"))
    cut(found, 2)
    return found


def ids(folder: Path) -> set[str]:
    return {CheckpointFolder.latest(CheckpointFolder(folder)).run_id} | {
        json.loads((path / "checkpoint.json").read_text())["run_id"]
        for path in CheckpointFolder(folder).rounds()
    }


def copy_round(source: Path, number: int, target: Path) -> Path:
    path = target / f"round-{number:06}"
    shutil.rmtree(path, ignore_errors=True)
    return Path(shutil.copytree(source / path.name, path))


def test_all_rounds_of_a_run_have_its_id(saved: Any) -> None:
    first, other = ids(saved[0]), ids(saved[1])
    assert len(first) == len(other) == 1
    assert "" not in first | other
    assert first != other


def test_the_id_stays_when_a_run_is_resumed_and_goes_on(folder: Path) -> None:
    before = ids(folder)
    run = CASE.resume(folder)
    run.more(1).wait()
    assert len(run.history) == 4
    assert ids(folder) == before


def test_the_id_stays_in_another_folder(folder: Path, tmp_path: Path) -> None:
    given = {"checkpoint": f"{tmp_path / 'new'}:keep=100"}
    SavedSpec.read(folder, given).make_run(CASE.namespace()).start().wait()
    assert ids(tmp_path / "new") == ids(folder)


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_a_round_of_another_run_is_refused(number: int, folder: Path, saved: Any) -> None:
    added = copy_round(saved[1], number, folder)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(RunError) as caught:
        CASE.resume(folder)
    message = str(caught.value)
    assert f"{added.name} of the run" in message
    assert "round-000002" in message or number == 2
    assert all(run_id in message for run_id in ids(saved[0]) | ids(saved[1]))
    assert len(caught.value.message.splitlines()) == 1
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_run_goes_on_once_the_others_rounds_are_moved(
    folder: Path, saved: Any, tmp_path: Path
) -> None:
    added = copy_round(saved[1], 4, folder)
    with pytest.raises(RunError):
        CASE.resume(folder)
    added.rename(tmp_path / added.name)
    assert_same(CASE.resume(folder), saved[2])


def test_a_new_run_does_not_replace_rounds_of_several(folder: Path, saved: Any) -> None:
    copy_round(saved[1], 5, folder)  # that run is finished
    with pytest.raises((OptionError, RunError), match="several runs"):
        run_in(folder, rounds=1)
    assert len(CheckpointFolder(folder).rounds()) == 3


def test_rounds_that_an_earlier_version_wrote_are_of_the_run_that_went_on(
    folder: Path, saved: Any
) -> None:
    for path in CheckpointFolder(folder).rounds():
        about = json.loads((path / "checkpoint.json").read_text())
        del about["run_id"], about["replaces"]
        (path / "checkpoint.json").write_text(json.dumps(about))
    run = CASE.resume(folder)
    assert_same(run, saved[2])
    assert CheckpointFolder(folder).latest().round == 3


def test_a_run_that_was_killed_before_it_removed_another_is_taken_up(
    saved: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first checkpoint is whole, and the rounds that it replaces are still there."""
    folder = Path(shutil.copytree(saved[1], tmp_path / "copy"))
    rename = Path.rename

    def fails(path: Path, target: Any) -> Path:
        if path.name in ("round-000004", "round-000005"):
            raise OSError("killed here")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", fails)
        CASE.start(folder)
    shutil.rmtree(folder / "round-000002")
    shutil.rmtree(folder / "round-000003")
    assert {path.name for path in CheckpointFolder(folder).rounds()} == {
        "round-000001",
        "round-000004",
        "round-000005",
    }
    found = SavedRun.of(CheckpointFolder(folder))
    assert found is not None
    assert (found.round, found.planned) == (1, 3)
    assert_same(CASE.resume(folder), saved[2])
    assert [path.name for path in CheckpointFolder(folder).rounds()] == [
        "round-000001",
        "round-000002",
        "round-000003",
    ]
