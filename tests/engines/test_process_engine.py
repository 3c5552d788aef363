"""The engine of worker processes: its curve, and what becomes of processes that end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_runs import SCRIPT, Viewing, curve, finished

from fusion_nb import RunSpec
from fusion_nb.errors import OptionError
from fusion_nb.runs.build import build
from fusion_nb.runs.run import Run

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="the process engine needs Linux or macOS"
)


def wait_until(holds: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for a condition; the limit only ends a hang."""
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


class TestCurve:
    @pytest.mark.parametrize(
        "options",
        [
            pytest.param({}, marks=pytest.mark.slow),
            pytest.param({"fusion": "scaffold"}, marks=pytest.mark.slow),
            {"personal": "ditto", "fraction": 0.5},
        ],
        ids=str,
    )
    def test_it_is_exactly_the_local_one(
        self, rows: Any, net: Any, options: dict[str, Any]
    ) -> None:
        assert curve("process", rows, net(), **options) == curve("local", rows, net(), **options)

    @pytest.mark.slow
    def test_new_processes_continue_with_the_parties_states(self, rows: Any, net: Any) -> None:
        whole = finished("local", rows, net(), rounds=4, fusion="scaffold")
        run = finished("process:workers=2", rows, net(), rounds=2, fusion="scaffold")
        run.more(2).wait()
        assert [r.metrics for r in run.records] == [r.metrics for r in whole.records]

    def test_a_model_that_a_script_defines_is_sent_along(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(SCRIPT)
        printed = [
            subprocess.run(
                [sys.executable, "mine.py", engine, "3"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for engine in ("process", "local")
        ]
        assert printed[0] == printed[1]


class TestProcessesThatEnd:
    def test_no_worker_outlives_a_kernel_that_is_killed(self, tmp_path: Path) -> None:
        import psutil

        (tmp_path / "mine.py").write_text(SCRIPT)
        kernel = subprocess.Popen(
            [sys.executable, "mine.py", "process", "1000000"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert kernel.stdout is not None
        wait_until((tmp_path / "trains").exists)
        workers = psutil.Process(kernel.pid).children()
        assert workers
        os.kill(kernel.pid, signal.SIGKILL)
        kernel.wait()
        wait_until(
            lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers)
        )
        kernel.stdout.close()

    def test_a_worker_that_dies_is_a_failure_of_its_party(self, rows: Any, tmp_path: Path) -> None:
        marker, kernel = str(tmp_path / "died"), os.getpid()

        class Dying(Viewing):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if self.training and os.getpid() != kernel and not os.path.exists(marker):
                    open(marker, "w").close()
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().forward(x)

        run = finished("process:workers=1", rows, Dying(), quorum=0.5, rounds=2)
        assert len(run.records) == 2
        failures = [failure for record in run.records for failure in record.failures]
        assert len(failures) == 1
        assert failures[0].error == "its worker process ended (exit code -9)"


def test_pause_and_stop_reach_the_middle_of_a_training(rows: Any, tmp_path: Path) -> None:
    batches, kernel = tmp_path / "batches", os.getpid()
    path = str(batches)

    class Counting(Viewing):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training and os.getpid() != kernel:
                with open(path, "a") as file:
                    file.write(".")
            return super().forward(x)

    def num_batches() -> int:
        return batches.stat().st_size if batches.exists() else 0

    def stands_still() -> bool:
        before = num_batches()
        time.sleep(0.1)
        return num_batches() == before

    spec = RunSpec(data="data", parties=2, lr=0.1, epochs=10_000_000, engine="process:workers=2")
    run = Run(spec, {"model": Counting(), "data": rows}).start()
    wait_until(lambda: num_batches() > 2)
    run.pause()
    wait_until(stands_still)
    assert run.status == "paused"
    paused_at = num_batches()
    run.resume()
    wait_until(lambda: num_batches() > paused_at)
    run.stop()  # waits for the training, which would not end by itself
    assert run.status == "stopped"
    assert not run.records


def test_a_model_that_cannot_be_sent_is_refused_before_training(rows: Any) -> None:
    class Locked(Viewing):
        def __deepcopy__(self, memo: Any) -> Locked:
            return self

    model = Locked()
    model.lock = threading.Lock()
    with pytest.raises(OptionError, match="can't be sent to another process"):
        build(RunSpec(data="data", engine="process"), {"model": model, "data": rows})
