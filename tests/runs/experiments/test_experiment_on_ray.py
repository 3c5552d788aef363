"""Experiments on a Ray cluster: numbers of this process, rows for failures, stops and kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fusion_nb
from fusion_nb.engines import ray_cluster
from fusion_nb.errors import OptionError
from fusion_nb.runs.experiments.spec import ExperimentSpec

NEEDS_RAY = [
    pytest.mark.slow,
    pytest.mark.integration,
    # Ray leaves files and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def losses(made: Any) -> list[list[float]]:
    return [trial.history["loss"] for trial in made.runs]


class TestOption:
    @pytest.mark.parametrize("text", ["ray:workers=3", "ray:address=auto,workers=3,cpus=0.5"])
    def test_a_cluster_is_written_as_the_engine_is(self, text: str) -> None:
        pytest.importorskip("ray", reason="needs the extra ray")
        spec = ExperimentSpec.of({"model": "m", "data": "d", "seeds": "0-1", "workers": text})
        assert (spec.workers, spec.cluster) == (3, text)
        assert ExperimentSpec.of(spec.to_dict()) == spec
        assert f"--workers {text}" in spec.to_cell()

    @pytest.mark.parametrize(
        ("text", "about"),
        [
            ("rya", "or a Ray cluster"),
            ("flower", "or a Ray cluster"),
            ("-1", "whole number"),
            ("ray:nodes=2", "nodes"),
            ("ray:cpus=0", "cpus"),
            ("ray:address=ray://host:10001", "Ray's client"),
        ],
    )
    def test_others_are_refused_in_a_line(self, text: str, about: str) -> None:
        pytest.importorskip("ray", reason="needs the extra ray")
        with pytest.raises(OptionError) as caught:
            ExperimentSpec.of({"model": "m", "data": "d", "workers": text})
        assert about in caught.value.message + caught.value.hint


@pytest.fixture(scope="module")
def kept_ray() -> Iterator[None]:
    """Keep one Ray for all tests: each would start its own."""
    pytest.importorskip("ray", reason="needs the extra ray")
    cluster = ray_cluster.join("")
    yield
    ray_cluster.leave(cluster)


@pytest.mark.usefixtures("kept_ray")
class TestOnRay:
    pytestmark = NEEDS_RAY

    def test_numbers_are_those_of_this_process_and_of_processes(self, short_sweep: Any) -> None:
        options = {"fusion": "fedavg,krum,scaffold", "seeds": "0-1"}
        here = short_sweep(**options)
        for workers in (2, "ray:workers=2"):
            beside = short_sweep(workers=workers, **options)
            for mine, theirs in zip(here.runs, beside.runs, strict=True):
                assert (mine.status, mine.reason) == (theirs.status, theirs.reason)
                assert mine.facts == theirs.facts
                assert [r.metrics for r in mine.records] == [r.metrics for r in theirs.records]
            assert losses(beside) == losses(here)
        assert {trial.status for trial in here.runs} == {"finished", "failed"}

    def test_engines_of_the_runs_have_equal_numbers(self, short_sweep: Any) -> None:
        made = short_sweep(engine="local,process,ray", seeds="0-1")
        found = losses(made)
        assert all(trial.status == "finished" for trial in made.runs), made.failed()
        assert found[:2] == found[2:4] == found[4:]

    def test_a_worker_that_is_killed_fails_its_trial_alone(self, short_sweep: Any) -> None:
        @fusion_nb.fusion
        def deadly(weights: Any, updates: Any) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

        made = short_sweep(fusion="fedavg,deadly,median", workers="ray:workers=1")
        assert [trial.status for trial in made.runs] == ["finished", "failed", "finished"]
        assert made.runs[1].reason.startswith("its worker on the Ray cluster ended")

    def test_a_stop_ends_the_trials_and_start_goes_on(
        self, short_sweep: Any, tmp_path: Path
    ) -> None:
        seen = threading.Event()

        def stop_after_two(made: Any) -> None:
            if not seen.is_set() and any(len(trial.records) >= 2 for trial in made.runs):
                seen.set()
                made.stop(wait=False)

        made = short_sweep(
            rounds=300,
            seeds="0-1",
            workers="ray:workers=1",
            background=True,
            checkpoint=str(tmp_path / "saved"),
        )
        made.subscribe(stop_after_two)
        made.wait()
        assert made.status == "stopped"
        assert made.start().wait().status == "finished"
        assert losses(made) == losses(short_sweep(rounds=300, seeds="0-1"))

    def test_more_than_the_cluster_has_is_one_line(self, short_sweep: Any) -> None:
        with pytest.raises(OptionError, match="no node of the cluster has 64 CPUs"):
            short_sweep(seeds="0-1", workers="ray:cpus=64")

    def test_a_search_prunes(self, short_sweep: Any) -> None:
        pytest.importorskip("optuna", reason="needs the extra tune")
        made = short_sweep(lr="[0.0001..0.1]", search="optuna:trials=3", workers="ray:workers=2")
        assert len(made.runs) == 3
        assert {trial.status for trial in made.runs} <= {"finished", "pruned"}


#: A sweep that ends its own process by force in the middle of the second trial, unless told not to.
KILLED = """
import os, signal, sys
import numpy as np
from torch import nn
import fusion_nb

rows = np.random.default_rng(0).normal(size=(240, 5)).astype("float32"), np.arange(240) % 3
made = fusion_nb.sweep(
    lambda: nn.Sequential(nn.Linear(5, 3)), rows, seeds="0-2", rounds=20, parties=3, lr=0.1,
    workers=sys.argv[1], checkpoint=sys.argv[2], background=True,
)
def die(made):
    if sys.argv[3] == "dies" and made.runs[0].status == "finished" and made.runs[1].records:
        os.kill(os.getpid(), signal.SIGKILL)
made.subscribe(die)
made.wait()
print([trial.history["loss"] for trial in made.runs])
"""


class TestKilled:
    pytestmark = NEEDS_RAY

    def test_a_kernel_that_is_killed_goes_on_where_it_was(self, tmp_path: Path) -> None:
        pytest.importorskip("ray", reason="needs the extra ray")
        (tmp_path / "sweeping.py").write_text(KILLED)

        def sweep(workers: str, folder: str, *, dies: bool = False) -> Any:
            return subprocess.run(
                [sys.executable, "sweeping.py", workers, folder, "dies" if dies else "lives"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=not dies,
            )

        assert sweep("ray:workers=1", "saved", dies=True).returncode == -signal.SIGKILL
        ended = {*(tmp_path / "saved" / "trials").iterdir()}
        times = {path: path.stat().st_mtime_ns for path in ended}
        assert ended
        on_ray, whole = sweep("ray:workers=1", "saved"), sweep("0", "whole")
        assert on_ray.stdout == whole.stdout
        assert on_ray.stderr == ""
        assert {path: path.stat().st_mtime_ns for path in ended} == times, "not trained again"
