"""Experiments on worker processes: the same numbers, rows for failures, stops and pauses."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusion_nb


def losses(made: Any) -> list[list[float]]:
    return [trial.history["loss"] for trial in made.runs]


def test_curves_and_model_are_those_of_this_process(short_sweep: Any, rows: Any) -> None:
    options = {"fusion": "fedavg,krum,scaffold", "seeds": "0-1"}
    here, beside = short_sweep(**options), short_sweep(workers=2, **options)
    finished = [trial.status for trial in here.runs]
    assert [trial.status for trial in beside.runs] == finished
    assert "failed" in finished
    for mine, theirs in zip(here.runs, beside.runs, strict=True):
        assert mine.facts == theirs.facts
        assert mine.reason == theirs.reason
        if mine.records:
            assert mine.history["loss"] == theirs.history["loss"]
    for name, value in here.model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), beside.model.state_dict()[name].numpy())


def test_workers_compute_by_the_settings_of_this_process(short_sweep: Any) -> None:
    import torch

    plain = losses(short_sweep(seeds="0-1"))
    torch.set_default_dtype(torch.float64)  # of the networks that the runs build
    try:
        here, beside = (losses(short_sweep(seeds="0-1", workers=n)) for n in (0, 1))
    finally:
        torch.set_default_dtype(torch.float32)
    assert beside == here
    assert here != plain


def test_components_of_this_process_go_with_the_runs(short_sweep: Any) -> None:
    @fusion_nb.fusion
    def halved(weights: Any, updates: Any) -> Any:
        first = next(iter(updates))
        return {name: (w + first.weights[name]) / 2 for name, w in weights.items()}

    options = {"fusion": "halved,fedavg"}
    assert losses(short_sweep(workers=1, **options)) == losses(short_sweep(**options))


@pytest.mark.slow
def test_a_cell_finds_its_variables_in_the_workers(ip: Any, rows: Any) -> None:
    ip.ns["rows"] = rows
    ip.run("from torch import nn\ndef head(n): return nn.Linear(8, n)")
    body = "model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), head(3))\n"
    for name, line in {"here": "", "beside": "--workers 2"}.items():
        options = f"--data rows --lr [0.1,0.2] --seeds 0-1 --rounds 1 --name {name} {line}"
        ip.run(f"%%fusion sweep {options}\n{body}")
    assert losses(ip.ns["beside"]) == losses(ip.ns["here"])
    assert all(trial.status == "finished" for trial in ip.ns["beside"].runs)


@pytest.mark.slow
def test_a_stop_ends_the_workers_and_start_goes_on(short_sweep: Any, tmp_path: Path) -> None:
    folder = str(tmp_path / "saved")
    seen = threading.Event()

    def stop_after_two(made: Any) -> None:
        if not seen.is_set() and any(len(trial.records) >= 2 for trial in made.runs):
            seen.set()
            made.stop(wait=False)

    made = short_sweep(rounds=30, seeds="0-2", workers=1, background=True, checkpoint=folder)
    made.subscribe(stop_after_two)
    made.wait()
    assert made.status == "stopped"
    assert made.start().wait().status == "finished"
    assert losses(made) == losses(short_sweep(rounds=30, seeds="0-2"))


def test_what_can_not_be_sent_is_told(build: Any, rows: Any) -> None:
    locked = threading.Lock()

    def build_locked() -> Any:
        with locked:
            return build()

    with pytest.raises(fusion_nb.errors.OptionError, match="can't be sent to another process"):
        fusion_nb.sweep(build_locked, rows, seeds="0-1", workers=1, rounds=1, parties=2)


@pytest.mark.slow
def test_engines_of_the_runs_have_equal_numbers(short_sweep: Any) -> None:
    made = short_sweep(engine="local,process", seeds="0-1")
    local, process = losses(made)[:2], losses(made)[2:]
    assert [trial.settings["engine"] for trial in made.runs] == ["local"] * 2 + ["process"] * 2
    assert local == process


@pytest.mark.slow
def test_a_worker_that_is_killed_fails_its_trial_alone(short_sweep: Any) -> None:
    @fusion_nb.fusion
    def deadly(weights: Any, updates: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    made = short_sweep(fusion="fedavg,deadly,median", workers=1)
    assert [trial.status for trial in made.runs] == ["finished", "failed", "finished"]
    assert "exit code -9" in made.runs[1].reason
