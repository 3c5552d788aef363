"""Runs on disk that were cut short: the panel offers, resumes and discards them."""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from panels import labelled, page, press, run_to_the_end, settle

from fusion_nb import Panel, Run, RunSpec
from fusion_nb.errors import RunError
from fusion_nb.notebook.panel.saved_runs import OfferedRun
from fusion_nb.runs.checkpoints import saving
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.runs.session import RUNS

RESUME, DISCARD, SURE, KEEP = (
    "Resume saved run",
    "Discard saved run",
    "Discard for good",
    "Keep it",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_runs: None) -> Path:
    """The folder of the cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(saving.VARIABLE, str(folder))
    return folder


@pytest.fixture
def cut_short(
    namespace: dict[str, Any], net: Callable[..., Any], cache: Path, saved_alone: None
) -> Callable[..., Run]:
    """A maker of a run in the cache that has lost its last round, as if its kernel had been
    killed."""
    numbers = itertools.count()

    def make(name: str = "run", age: float = 0.0, **options: Any) -> Run:
        # Named, so that every round is saved; the cache may leave some out.
        folder = str(cache / f"{name}-{next(numbers)}")
        chosen = {"parties": 2, "rounds": 3, "lr": 0.1, "checkpoint": folder, **options}
        names = {**namespace, "model": net(), "net": net()}
        run = Run(RunSpec(**chosen), names, name=name).start().wait()
        *_, left, last = CheckpointFolder(run.storage.folder).rounds()
        shutil.rmtree(last)
        seconds = left.stat().st_mtime - age
        os.utime(left, (seconds, seconds))
        return run

    return make


def buttons(panel: Panel) -> set[str]:
    """Return those of the four buttons that can be seen."""
    seen = set(panel.screen.visible())
    return {text for text in (RESUME, DISCARD, SURE, KEEP) if panel.screen.buttons[text] in seen}


def resume(panel: Panel) -> None:
    """Click Resume, and wait for the end of the run, if one begins."""
    press(panel, RESUME)
    settle(panel)
    if panel.run is not None:
        panel.run.wait()


def test_nothing_is_shown_where_nothing_was_cut_short(namespace: dict[str, Any]) -> None:
    run_to_the_end(Panel("model", "rows", namespace=namespace, rounds=1))
    RUNS.clear()
    panel = Panel(namespace=namespace)
    assert panel.screen.saved_run == ""
    assert buttons(panel) == set()
    with pytest.raises(RunError, match="no saved run"):
        panel.saved.resume()


def test_a_line_tells_the_run_and_resume_takes_it_to_its_end(
    namespace: dict[str, Any], cut_short: Callable[..., Run]
) -> None:
    whole = cut_short("mine", data="rows", split="dirichlet:alpha=5", age=200)
    panel = Panel(namespace=namespace)
    expected = "mine was cut short after round 2 of 3, 3 min ago: model model, data rows"
    assert expected in panel.screen.saved_run
    assert buttons(panel) == {RESUME, DISCARD}
    assert labelled(panel, "saved runs").layout.display == "none"
    resume(panel)
    resumed = namespace["mine"]
    assert panel.run is resumed is RUNS["mine"]
    assert resumed.status == "finished"
    assert resumed.history["loss"] == whole.history["loss"]
    assert "mine goes on after round 2 of 3; bound to the variable mine" in panel.screen.message
    assert "mine: finished, round 3 of 3" in panel.screen.status
    assert "Loss from" in panel.screen.chart
    expected_spec = resumed.spec.model_dump(exclude={"split"})
    assert panel.spec.model_dump(exclude={"split"}) == expected_spec, "in the controls"
    assert panel.spec.split == "dirichlet:alpha=5.0"
    assert buttons(panel) == set(), "it is taken up"
    assert Path(resumed.storage.folder) == Path(whole.storage.folder)


def test_several_stand_in_a_list_newest_first(
    namespace: dict[str, Any], cut_short: Callable[..., Run]
) -> None:
    for name, age in {"oldest": 7200, "newest": 10, "older": 3600}.items():
        cut_short(name, age, data="rows")
    panel = Panel(namespace=namespace)
    listed = labelled(panel, "saved runs")
    assert [label.partition(":")[0] for label in listed.options] == ["newest", "older", "oldest"]
    assert listed.options[1] == "older: round 2 of 3, 60 min ago"
    assert "newest was cut short" in panel.screen.saved_run
    listed.index = 2
    assert "oldest was cut short" in panel.screen.saved_run
    resume(panel)
    assert namespace["oldest"].status == "finished"
    assert [label.partition(":")[0] for label in listed.options] == ["newest", "older"]


def test_two_that_look_alike_are_told_apart(
    namespace: dict[str, Any], cut_short: Callable[..., Run]
) -> None:
    folders = [cut_short("run", 3600.0 + i, data="rows").storage.folder for i in range(2)]
    panel = Panel(namespace=namespace)
    labelled(panel, "saved runs").index = 1
    press(panel, DISCARD)
    press(panel, SURE)
    assert [Path(folder).exists() for folder in folders] == [True, False]
    assert buttons(panel) == {RESUME, DISCARD}


def test_discard_asks_once_and_removes_that_run_alone(
    namespace: dict[str, Any], cut_short: Callable[..., Run]
) -> None:
    folder, other = (Path(cut_short(name, data="rows").storage.folder) for name in ("run", "two"))
    panel = Panel(namespace=namespace)
    labelled(panel, "saved runs").index = [run.path for run in panel.saved.find()].index(folder)
    press(panel, DISCARD)
    assert buttons(panel) == {SURE, KEEP}
    assert "Remove its checkpoints from the disk?" in panel.screen.saved_run
    press(panel, KEEP)
    assert buttons(panel) == {RESUME, DISCARD}
    assert folder.is_dir()
    press(panel, DISCARD)
    press(panel, SURE)
    assert not folder.exists()
    assert CheckpointFolder(other).rounds()
    assert "two was cut short" in panel.screen.saved_run


def test_a_named_folder_is_offered_and_keeps_its_other_files(
    namespace: dict[str, Any], cut_short: Callable[..., Run], tmp_path: Path
) -> None:
    folder = tmp_path / "named"
    cut_short(data="rows", checkpoint=str(folder))
    (folder / "notes.txt").write_text("mine")
    panel = Panel(namespace=namespace)
    assert buttons(panel) == set()
    panel.screen.controls["checkpoint"].set(f"{folder}:keep=3")
    assert "run was cut short after round 2 of 3" in panel.screen.saved_run
    press(panel, DISCARD)
    press(panel, SURE)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_named_folder_is_resumed_there(
    namespace: dict[str, Any], cut_short: Callable[..., Run], tmp_path: Path
) -> None:
    folder = tmp_path / "named"
    whole = cut_short(data="rows", checkpoint=str(folder))
    panel = Panel(namespace=namespace, checkpoint=str(folder))
    resume(panel)
    assert namespace["run"].history["loss"] == whole.history["loss"]
    assert (folder / "round-000003").is_dir()


def test_other_rows_are_refused_in_one_line_and_can_be_allowed(
    namespace: dict[str, Any], cut_short: Callable[..., Run]
) -> None:
    cut_short(data="rows")
    x, y = namespace["rows"]
    namespace["rows"] = x + np.float32(1), y
    panel = Panel(namespace=namespace)
    allow = labelled(panel, "allow other rows")
    assert allow.layout.display == "none"
    resume(panel)
    assert panel.run is None
    assert "are not those that the run was begun with" in panel.screen.message
    assert "insist with allow other rows" in panel.screen.message
    assert "traceback" not in panel.screen.message
    assert buttons(panel) == {RESUME, DISCARD}
    assert allow.layout.display == ""
    allow.value = True
    resume(panel)
    assert namespace["run"].status == "finished"
    assert "its rows were not compared" in panel.screen.message


class TestVariables:
    def test_one_that_is_missing_is_said(
        self, namespace: dict[str, Any], cut_short: Callable[..., Run]
    ) -> None:
        cut_short(data="rows", model="net")
        panel = Panel(namespace={"rows": namespace["rows"]})
        resume(panel)
        assert panel.run is None
        assert "there is no variable &#39;net&#39;" in panel.screen.message
        assert buttons(panel) == {RESUME, DISCARD}

    def test_one_of_another_name_is_taken_from_the_controls(
        self, namespace: dict[str, Any], cut_short: Callable[..., Run]
    ) -> None:
        cut_short(data="rows", model="net")
        panel = Panel("model", namespace=namespace)
        resume(panel)
        assert namespace["run"].status == "finished"
        assert "with model model, since there is no variable net" in panel.screen.message

    def test_a_body_that_made_them_is_run(
        self, namespace: dict[str, Any], cut_short: Callable[..., Run]
    ) -> None:
        code = "from torch import nn\nmodel = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), " + (
            "nn.Linear(8, 3))\n%time x = 1\n"
        )
        whole = cut_short(data="rows", code=code)
        variables = {"rows": namespace["rows"], "get_ipython": lambda: _Shell()}
        panel = Panel(namespace=variables)
        resume(panel)
        assert variables["run"].history["loss"] == whole.history["loss"]
        assert "the body of its cell was run first" in panel.screen.message
        assert "model" in variables

    def test_a_body_in_a_named_folder_is_not_run(
        self, namespace: dict[str, Any], cut_short: Callable[..., Run], tmp_path: Path
    ) -> None:
        cut_short(data="rows", checkpoint=str(tmp_path / "named"), code="raise SystemExit")
        panel = Panel(namespace={"rows": namespace["rows"]}, checkpoint=str(tmp_path / "named"))
        resume(panel)
        assert "there is no variable &#39;model&#39;" in panel.screen.message

    def test_the_name_of_something_else_is_not_taken(
        self, namespace: dict[str, Any], cut_short: Callable[..., Run]
    ) -> None:
        cut_short("rows", data="rows")
        panel = Panel(namespace=namespace)
        resume(panel)
        assert namespace["run"].status == "finished"
        assert isinstance(namespace["rows"], tuple)


def test_the_runs_of_this_kernel_are_not_offered(
    namespace: dict[str, Any], cut_short: Callable[..., Run]
) -> None:
    RUNS["run"] = cut_short(data="rows")
    panel = Panel(namespace=namespace)
    assert buttons(panel) == set()
    RUNS.clear()
    press(panel, "Refresh variables")
    assert buttons(panel) == {RESUME, DISCARD}


def test_a_run_that_another_process_trains_is_neither_offered_nor_discarded(
    namespace: dict[str, Any], cut_short: Callable[..., Run]
) -> None:
    folder = CheckpointFolder(cut_short(data="rows").storage.folder)
    panel = Panel(namespace=namespace)
    folder.acquire(fresh=False)
    try:
        press(panel, DISCARD)
        press(panel, SURE)
        assert "another run writes its checkpoints to" in panel.screen.message
        assert len(folder.rounds()) == 1
        assert buttons(panel) == set()
        assert panel.saved.find() == []
    finally:
        folder.release()


def test_it_waits_while_another_run_is_running(
    namespace: dict[str, Any], cut_short: Callable[..., Run]
) -> None:
    cut_short("mine", data="rows")
    panel = Panel("model", "rows", namespace=namespace, rounds=10**6, lr=0.1)
    running = threading.Event()
    panel.start()
    settle(panel)
    assert panel.run is not None
    panel.run.subscribe(lambda run: running.set() if run.records else None)
    assert running.wait(60)
    assert panel.screen.buttons[RESUME].disabled
    assert "mine was cut short" in panel.screen.saved_run
    with pytest.raises(RunError, match="is running"):
        panel.saved.resume()
    panel.run.stop()
    assert not panel.screen.buttons[RESUME].disabled


def test_a_notebook_resumes_by_a_method(
    namespace: dict[str, Any], cut_short: Callable[..., Run]
) -> None:
    cut_short("mine", data="rows")
    panel = Panel(namespace=namespace)
    panel.saved.resume()
    panel.wait()
    assert namespace["mine"].status == "finished"


def test_a_folder_that_is_damaged_offers_its_earlier_round_or_nothing(
    namespace: dict[str, Any], cut_short: Callable[..., Run]
) -> None:
    folder = CheckpointFolder(cut_short(data="rows").storage.folder)
    shutil.copytree(folder.rounds()[0], folder.path / "round-000003")
    (folder.path / "round-000003" / "checkpoint.json").write_text('{"format": 1, "spec": []}')
    panel = Panel(namespace=namespace)
    assert "after round 2 of 3" in panel.screen.saved_run
    (folder.path / "round-000002" / "checkpoint.json").write_text("no JSON")
    press(panel, "Refresh variables")
    assert buttons(panel) == set()


def test_names_are_text(namespace: dict[str, Any], cut_short: Callable[..., Run]) -> None:
    folder = CheckpointFolder(cut_short(data="rows").storage.folder)
    about = folder.rounds()[-1] / "checkpoint.json"
    text = about.read_text().replace('"name": "run"', r'"name": "<img src=x>\n\ud800"')
    about.write_text(text.replace('"data": "rows"', '"data": "<b>"'))
    panel = Panel(namespace=namespace)
    assert "<img" not in page(panel)
    assert "<b>" not in panel.screen.saved_run
    panel.screen.saved_run.encode()
    (run,) = panel.saved.find()
    assert isinstance(run, OfferedRun)
    run.short.encode()


class _Shell:
    """The part of IPython's shell that a line magic in a cell's body calls."""

    def run_line_magic(self, *words: object) -> None:
        """Do nothing."""
