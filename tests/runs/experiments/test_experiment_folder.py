"""Experiments that are saved: they go on, they grow, and refuse what is another one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import fusion_nb
from fusion_nb.errors import FusionError
from fusion_nb.runs.experiments import calls


def losses(made: Any) -> list[list[float]]:
    return [trial.history["loss"] for trial in made.runs]


def test_a_finished_experiment_is_read_and_not_trained_again(
    short_sweep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "saved")
    first = short_sweep(lr=[0.05, 0.1], seeds="0-1", checkpoint=folder)
    from fusion_nb.runs.experiments import here

    monkeypatch.setattr(here, "train", None)  # nothing is trained any more
    again = short_sweep(lr=[0.05, 0.1], seeds="0-1", checkpoint=folder)
    assert losses(again) == losses(first)
    assert [trial.facts for trial in again.runs] == [trial.facts for trial in first.runs]


def test_a_saved_experiment_grows(short_sweep: Any, tmp_path: Path) -> None:
    folder = str(tmp_path / "saved")
    short_sweep(lr=[0.05, 0.1], seeds="0-1", checkpoint=folder)
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "saved/trials").iterdir()}
    grown = short_sweep(lr=[0.05, 0.1, 0.2], seeds="0-2", checkpoint=folder)
    assert len(grown.runs) == 9
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "saved/trials").iterdir()}
    assert files.items() <= after.items()
    assert len(after) == 9


@pytest.mark.parametrize(
    ("options", "num_saved"),
    [
        ({"seeds": "5,0-1"}, 6),
        ({"seeds": "2-3"}, 8),
        ({"lr": [0.2, 0.05, 0.1]}, 6),
        ({"parties": [2, 3]}, 8),
    ],
)
def test_a_saved_experiment_grows_at_its_front(
    short_sweep: Any, rows: Any, build: Any, tmp_path: Path, options: Any, num_saved: int
) -> None:
    folder = str(tmp_path / "saved")
    given = {"lr": [0.05, 0.1], "seeds": "0-1", "checkpoint": folder}
    short_sweep(**given)
    grown = short_sweep(**given | options)
    assert {trial.status for trial in grown.runs} == {"finished"}
    assert len(list((tmp_path / "saved/trials").iterdir())) == num_saved
    x, y = rows
    with pytest.raises(FusionError, match="other rows"):
        fusion_nb.sweep(build, (x + 1, y), rounds=2, **{"parties": 3} | given | {"seeds": "7,0"})


def test_a_damaged_outcome_is_trained_again(short_sweep: Any, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    first = short_sweep(seeds="0-1", checkpoint=str(folder))
    damaged = next((folder / "trials").iterdir())
    damaged.write_text("{")
    assert losses(short_sweep(seeds="0-1", checkpoint=str(folder))) == losses(first)
    assert json.loads(damaged.read_text())["status"] == "finished"


def test_other_rows_or_another_model_are_refused(
    short_sweep: Any, rows: Any, net: Any, tmp_path: Path
) -> None:
    folder = str(tmp_path / "saved")
    from torch import nn

    short_sweep(seeds="0-1", checkpoint=folder)
    x, y = rows
    with pytest.raises(FusionError, match="other rows"):
        fusion_nb.sweep(
            net(), (x + 1, y), seeds="0-1", checkpoint=folder, rounds=2, parties=3, lr=0.1
        )
    with pytest.raises(FusionError, match="other first weights"):
        fusion_nb.sweep(
            net(5, 3, nn.Linear(3, 3)),
            rows,
            seeds="0-1",
            checkpoint=folder,
            rounds=2,
            parties=3,
            lr=0.1,
        )


def test_a_folder_of_other_files_is_refused(short_sweep: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(FusionError, match=r"other files, such as thesis\.tex"):
        short_sweep(seeds="0-1", checkpoint=str(tmp_path))


def test_resume_takes_up_an_experiment(
    short_sweep: Any, build: Any, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path / "saved")
    first = short_sweep(lr=[0.05, 0.1], checkpoint=folder)
    from fusion_nb.runs.experiments import here

    monkeypatch.setattr(here, "train", None)
    again = fusion_nb.resume(folder, build, rows)
    assert losses(again) == losses(first)
    assert again.name == first.name


@pytest.mark.parametrize("resume", ["fusion_nb.resume('saved', data=rows)", "%fusion resume saved"])
def test_an_experiment_of_a_cell_is_taken_up(
    ip: Any, rows: Any, resume: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ip.ns["rows"], ip.ns["fusion_nb"] = rows, fusion_nb
    body = "from torch import nn\nmodel = nn.Sequential(nn.Linear(5, 3))\n"
    line = "--data rows --seeds 0-1 --rounds 1 --checkpoint saved --name first"
    ip.run(f"%%fusion sweep --lr [0.1,0.2] {line}\n{body}")
    from fusion_nb.runs.experiments import here

    monkeypatch.setattr(here, "train", None)
    ip.run(f"del first\n{resume}")
    again = calls.EXPERIMENTS["first"]
    assert [trial.status for trial in again.runs] == ["finished"] * 4
    assert len({trial.facts.initial_sha256 for trial in again.runs if trial.facts}) == 2


_SCRIPT = """
import sys
import numpy as np, torch, fusion_nb
from torch import nn
torch.set_num_threads(1)
y = np.arange(240) % 3
x = (np.random.default_rng(0).normal(size=(240, 5)) + np.eye(3, 5)[y]).astype(np.float32)
made = fusion_nb.sweep(
    lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), (x, y),
    fusion="fedavg,fedprox:mu=[0.01,1],scaffold", lr=[0.01, 0.1], seeds=range(3), rounds=6,
    parties=3, checkpoint=sys.argv[1] if len(sys.argv) > 1 else "",
)
print([trial.history["loss"] for trial in made.runs])
"""


@pytest.mark.slow
def test_a_sweep_of_24_runs_that_is_killed_twice_ends_as_one_that_was_not(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    folder = tmp_path / "saved"

    def started(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _SCRIPT, *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    for at_least in (4, 12):
        process = started(str(folder))
        end = time.monotonic() + 120
        while len(list((folder / "trials").glob("*.json"))) < at_least:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finished, _ = started(str(folder)).communicate(timeout=120)
    whole, _ = started().communicate(timeout=120)
    assert finished == whole
    assert len(json.loads(whole)) == 24
    assert not list((folder / "runs").glob("*/round-*"))
