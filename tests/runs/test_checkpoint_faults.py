"""Disks, folders and states that a run can't be saved on or with: one line, and the last good
checkpoint stays."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saved_runs import Case, assert_same, cut, full_from, run_in

from fusion_nb import Run
from fusion_nb.core import registry
from fusion_nb.core.files import storage
from fusion_nb.core.files.tree import Flattener
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Weights
from fusion_nb.errors import FusionError, OptionError, RunError
from fusion_nb.runs.checkpoints import saving
from fusion_nb.runs.checkpoints.folder import CheckpointFolder

pytestmark = pytest.mark.usefixtures("saved_alone")


def test_a_full_disk_ends_the_run_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(tmp_path / "saved")
    told: list[int] = []
    run.subscribe(lambda run: told.append(len(run.records)) if run.status == "running" else None)
    full_from(3, monkeypatch)
    with pytest.raises(RunError, match=r"round 3 can't be saved in .* \(No space left") as caught:
        run.start().wait()
    assert "\n" not in caught.value.message
    assert run.status == "failed"
    assert max(told) == 2
    assert [path.name for path in CheckpointFolder(tmp_path / "saved").rounds()] == [
        "round-000001",
        "round-000002",
    ]
    assert not list((tmp_path / "saved").glob(f"{storage.DRAFT}*"))
    monkeypatch.undo()
    case = Case(is_seeded=True)
    assert_same(case.resume(tmp_path / "saved"), case.start(None))


def test_a_full_disk_is_a_note_where_nobody_named_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(saving.VARIABLE, str(tmp_path))
    full_from(1, monkeypatch)
    case = Case(is_seeded=True)
    run = Run(case.spec, case.namespace(), is_cached=True).start().wait()
    assert run.status == "finished"
    assert run.storage.notes == [
        f"warning: this run has no checkpoint any more ({os.strerror(errno.ENOSPC)})"
    ]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_one_line_before_any_training(tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir(mode=0o500)
    with pytest.raises(RunError, match="there can be no checkpoint in"):
        run_in(tmp_path / "saved")


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "saved").write_text("")
    with pytest.raises(RunError, match="there can be no checkpoint in"):
        run_in(tmp_path / "saved")


def test_a_folder_that_is_removed_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder)

    def remove(run: Run) -> None:
        if len(run.records) == 2 and run.status == "running":
            shutil.rmtree(folder)

    run.subscribe(remove)
    run.start().wait()
    assert [path.name for path in CheckpointFolder(folder).rounds()] == [
        "round-000003",
        "round-000004",
    ]


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    first, second = run_in(folder), run_in(folder)
    first.step()  # holds the folder while it is paused
    with pytest.raises(FusionError, match=r"another run writes .*: this notebook"):
        second.start().wait()
    with pytest.raises(FusionError, match="holds round 1 of 4"):
        run_in(folder)
    first.resume().wait()
    assert CheckpointFolder(folder).latest().round == 4
    run_in(folder).start().wait()  # a finished run is replaced


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from fusion_nb.runs.checkpoints.folder import CheckpointFolder\n"
        f"CheckpointFolder({str(tmp_path)!r}).acquire(fresh=True)\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"process {child.pid}"):
            run_in(tmp_path)
    finally:
        child.kill()
        child.communicate()
    assert (tmp_path / ".lock").exists()
    run_in(tmp_path).start().wait()  # takes over the lock of a process that is gone
    assert not (tmp_path / ".lock").exists()


def test_a_lock_of_another_process_with_this_number_is_taken_over(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).acquire(fresh=True)
    lock = tmp_path / ".lock"
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "started": "1"}))
    if sys.platform == "linux":
        assert not CheckpointFolder(tmp_path).is_in_use


class Memory:
    """An object that is no plain data."""


class Remembers(Fusion):
    """A rule whose state is no plain data."""

    def init(self, weights: Weights, info: Any) -> Any:
        return {"memory": [Memory()]}

    def aggregate(self, weights: Weights, updates: Any, state: Any) -> tuple[Weights, Any]:
        return next(iter(updates)).weights, state


def test_a_state_that_is_no_plain_data_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = registry.create
    monkeypatch.setattr(
        registry,
        "create",
        lambda kind, text: Remembers() if kind == "fusions" else make(kind, text),
    )
    with pytest.raises(RunError, match="fusion/memory/0 is a Memory, which is no array") as caught:
        run_in(tmp_path / "saved").start().wait()
    assert "checkpoint off" in caught.value.hint
    with pytest.raises(RunError, match="fusion is an array of object"):
        Flattener().flatten(np.array([None]), "fusion")


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    case = Case(is_seeded=True)
    whole = case.start(folder)
    cut(folder, 3)
    weights = folder / "round-000003" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    assert_same(case.resume(folder), whole)


def test_another_format_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    Case(is_seeded=True).start(folder)
    for path in folder.glob("round-*"):
        about = path / "checkpoint.json"
        about.write_text(json.dumps({**json.loads(about.read_text()), "format": 99}))
    with pytest.raises(RunError, match="has format 99"):
        CheckpointFolder(folder).latest()


@pytest.mark.parametrize("text", ["x:every=0", "x:keep=a", ":every=1", "x:every=1,other=2"])
def test_an_option_of_another_form_is_refused(text: str, tmp_path: Path) -> None:
    case = Case({"checkpoint": text})
    with pytest.raises(OptionError, match="checkpoint"):
        Run(case.spec, case.namespace())


def test_every_and_keep(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    run_in(folder, checkpoint=f"{folder}:every=3,keep=3", rounds=8).start().wait()
    names = [int(path.name[-6:]) for path in CheckpointFolder(folder).rounds()]
    assert names == [3, 6, 8]


def test_a_stopped_run_saves_its_last_round(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    run = run_in(folder, checkpoint=f"{folder}:every=3", rounds=1000)
    run.step()
    run.step()
    run.stop()
    assert CheckpointFolder(folder).latest().round == 2


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    for name, age in (("old", 40.0), ("a", 3.0), ("b", 2.0), ("c", 1.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"0" * 1000)
        then = (tmp_path / name).stat().st_mtime - age * 86_400
        os.utime(tmp_path / name, (then, then))
    held = CheckpointFolder(tmp_path / "a")
    held.acquire(fresh=True)
    saving.prune(tmp_path, max_bytes=2500, max_days=30)
    held.release()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "c"}
