"""`%fusion compare` of runs, experiments, exported folders and trackers, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.errors import FusionError, NameNotFoundError
from fusion_nb.notebook import complete
from fusion_nb.runs import session
from fusion_nb.runs.experiments import calls
from fusion_nb.runs.experiments.comparing.comparison import Comparison

torch = pytest.importorskip("torch")
BODY = "from torch import nn\nmodel = nn.Linear(5, 3)\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, fusion_nb.Run]]:
    """Two runs and a folder, in which the first is exported and TensorBoard has the second."""
    folder = tmp_path_factory.mktemp("compared")
    y = np.arange(60) % 3
    rows = (np.eye(3, 5)[y].astype(np.float32), y)
    options = {"rounds": 1, "parties": 2, "engine": "local"}
    first = fusion_nb.federate(torch.nn.Linear(5, 3), rows, lr=0.1, name="first", **options)
    log = f"tensorboard:folder={folder}/tb"
    second = fusion_nb.federate(
        torch.nn.Linear(5, 3), rows, lr=0.2, name="second", log=log, **options
    )
    first.export(folder / "exports/run1")
    second.export(folder / "copy/run1")
    return folder, {"first": first, "second": second}


@pytest.fixture
def shell(ip: Any, trained: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A shell with these runs, in that folder."""
    folder, runs = trained
    monkeypatch.chdir(folder)
    monkeypatch.setattr(session, "RUNS", dict(runs))
    monkeypatch.setattr(calls, "EXPERIMENTS", {})
    ip.ns |= runs
    return ip


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        ("exports/run1 second", {"run1", "second"}),
        ("./exports/run1/ first", {"run1", "first"}),
        ("tensorboard:folder=tb first", {"tensorboard", "first"}),
        ("tb first", {"tb", "first"}),
        ("tensorboard:folder=tb exports/run1", {"tensorboard", "run1"}),
        ("both exports/run1", {"both", "run1"}),
        ("folder second", {"run1", "second"}),
        ("copy/run1 exports/run1", {"copy/run1", "exports/run1"}),
    ],
)
def test_words_name_all_that_can_be_compared(shell: Any, words: str, labels: set[str]) -> None:
    shell.ns["both"] = [shell.ns["first"], shell.ns["second"]]
    shell.ns["folder"] = "exports/run1"
    found = shell.run(f"%fusion compare {words}").result
    assert isinstance(found, Comparison)
    assert set(found.groups) == labels


def test_what_is_read_back_is_what_was_trained(shell: Any) -> None:
    found = shell.run("%fusion compare exports/run1 first").result
    run1, first = (found.groups[name][0].history["loss"] for name in ("run1", "first"))
    assert run1 == first == shell.ns["first"].history["loss"]


def test_runs_alone_are_one_chart_as_before(shell: Any) -> None:
    assert shell.run("%fusion compare first second").result.alt.startswith("first: ")
    assert len(shell.run("%fusion compare first").result.png) > 0


def test_experiments_are_compared_without_a_word_where_there_are_no_runs(
    ip: Any, rows: Any
) -> None:
    calls.EXPERIMENTS.clear()
    ip.ns["rows"] = rows
    ip.run(BODY)
    ip.run("%fusion sweep --data rows --lr [0.01,0.1] --rounds 1 --name a --quiet")
    assert set(ip.run("%fusion compare").result.groups) == {"a: lr 0.01", "a: lr 0.1"}


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("frist second", "'frist': no run", "did you mean 'first'"),
        ("exports/run2 first", "'exports/run2': no run", "runs here: first, second"),
        ("one two first", "'one', 'two'", "as --log has it"),
        ("tensorbord:folder=tb", "'tensorbord:folder=tb'", "did you mean 'tensorboard'"),
        ("model first", "'model': no run", "runs here"),
        ("rows first", "(ndarray|rows)", ""),
        ("'' first", "''", "runs here"),
        ("exports first", "no exported run in exports", "did you mean 'exports/run1'"),
        ("tensorboard:folder=none first", "none", ""),
        ("tensorboard:fodler=tb first", "no option 'fodler'", "folder"),
        ("m://me:secret@host first", "'m://host'", "runs here"),
        ("x" * 5000, "no run", "runs here"),
    ],
)
def test_what_names_nothing_is_refused_in_one_line(
    shell: Any, words: str, message: str, hint: str
) -> None:
    error = shell.run(f"%fusion compare {words}").error
    assert isinstance(error, FusionError)
    assert "\n" not in error.message
    assert re.search(message, error.message)
    assert hint in error.hint
    assert "secret" not in str(error)


def test_nothing_is_read_before_all_words_are_known(
    shell: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    monkeypatch.setattr("fusion_nb.notebook.comparing.compare", read.append)
    assert isinstance(shell.run("%fusion compare tb nothing").error, NameNotFoundError)
    assert not read


@pytest.mark.parametrize(
    ("fragment", "offered"),
    [
        ("fi", ["first"]),
        ("exp", ["exports/"]),
        ("exports/", ["exports/run1/"]),
        ("tensor", ["tensorboard"]),
        ("tensorboard:", ["tensorboard:folder=", "tensorboard:parties="]),
        ("none/", []),
    ],
)
def test_what_can_be_compared_is_completed(shell: Any, fragment: str, offered: list[str]) -> None:
    words = complete.suggest(["compare"], fragment, shell.ns)
    assert [word for word in words if word.startswith(fragment)] == offered


def test_the_help_tells_what_can_be_compared(ip: Any) -> None:
    told = str(ip.run("%fusion help compare"))
    assert "[RUN|FOLDER|TRACKER ...]" in told
    assert "mlflow:uri=" in told


def test_a_file_that_is_no_database_of_mlflow_is_told_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    (tmp_path / "m.db").write_text("no database at all, but text that fills a page" * 99)
    with pytest.raises(FusionError) as found:
        fusion_nb.compare({"m": f"mlflow:uri=sqlite:///{tmp_path}/m.db"})
    assert "m.db" in found.value.message
    assert len(found.value.message) < 400


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    pytest.importorskip("mlflow")
    with pytest.raises(FusionError, match=r"http://127.0.0.1:9 can't be read") as found:
        fusion_nb.compare({"m": "mlflow:uri=http://me:secret@127.0.0.1:9"})
    assert "secret" not in str(found.value)
