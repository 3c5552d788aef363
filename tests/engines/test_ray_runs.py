"""Runs on a Ray of their own: the curve, and a stop, a pause and a death in mid-batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_runs import SCRIPT, Viewing, Watched, are_held, batches, curve, finished, wait_until

from fusion_nb import RunSpec
from fusion_nb.runs.run import Run

ray = pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.integration,
    # Ray leaves files and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def kept_ray() -> Iterator[None]:
    """A Ray that stays for all tests of the file, as `ray.init()` in a cell keeps one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=True,
            _node_ip_address="127.0.0.1",
        )
    yield
    ray.shutdown()


def pids() -> list[int]:
    """The processes of the actors that live."""
    import psutil

    children = psutil.Process().children(recursive=True)
    found = []
    for child in children:
        with suppress(psutil.Error):
            if "PartyActor" in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


@pytest.mark.usefixtures("kept_ray")
class TestCurve:
    @pytest.mark.parametrize(
        "options",
        [
            {"fusion": "scaffold", "baseline": "central,local"},
            {"personal": "ditto", "fraction": 0.5},
            {"optimizer": "sgd:momentum=0.9", "keep_optimizer": True},
            {"metrics": "auc", "dropout": 0.3},
        ],
        ids=str,
    )
    def test_it_is_exactly_the_local_one(
        self, rows: Any, net: Any, options: dict[str, Any]
    ) -> None:
        assert curve("ray", rows, net(), **options) == curve("local", rows, net(), **options)

    def test_another_engine_continues(self, rows: Any, net: Any, tmp_path: Path) -> None:
        import fusion_nb

        whole = finished("local", rows, net(), rounds=4, fusion="scaffold")
        given = {"fusion": "scaffold", "checkpoint": str(tmp_path / "kept")}
        finished("ray:workers=2", rows, net(), rounds=2, **given)
        resumed = fusion_nb.resume(str(tmp_path / "kept"), model=net(), data=rows, engine="local")
        resumed.more(2).wait()
        assert [r.metrics for r in resumed.records] == [r.metrics for r in whole.records]

    def test_it_continues_another_engine(self, rows: Any, net: Any, tmp_path: Path) -> None:
        import fusion_nb

        whole = finished("local", rows, net(), rounds=4, fusion="scaffold")
        given = {"fusion": "scaffold", "checkpoint": str(tmp_path / "kept")}
        finished("process:workers=1", rows, net(), rounds=2, **given)
        resumed = fusion_nb.resume(str(tmp_path / "kept"), model=net(), data=rows, engine="ray")
        resumed.more(2).wait()
        assert [r.metrics for r in resumed.records] == [r.metrics for r in whole.records]

    def test_a_thousand_parties_need_two_workers(self) -> None:
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(4000, 5)).astype(np.float32), np.arange(4000) % 3
        given = {"parties": 1000, "split": "iid", "rounds": 1}
        torch.manual_seed(0)
        model = Viewing()
        assert curve("ray:workers=2", rows, model, **given) == curve("local", rows, model, **given)

    def test_nothing_is_left_of_a_run(self, rows: Any, net: Any) -> None:
        finished("ray:workers=2", rows, net(), rounds=1)
        assert ray.is_initialized(), "the cell's Ray stays"
        wait_until(lambda: not pids())


@pytest.mark.usefixtures("kept_ray")
class TestWorkersThatEnd:
    def test_one_that_dies_is_a_failure_of_its_party(self, rows: Any, tmp_path: Path) -> None:
        marker, kernel = str(tmp_path / "died"), os.getpid()

        class Dying(Viewing):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if self.training and os.getpid() != kernel and not os.path.exists(marker):
                    open(marker, "w").close()
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().forward(x)

        run = finished("ray:workers=1", rows, Dying(), quorum=0.5, rounds=2)
        assert len(run.records) == 2
        failures = [failure for record in run.records for failure in record.failures]
        assert len(failures) == 1
        assert failures[0].error.startswith("its worker on the Ray cluster ended")
        assert "\n" not in failures[0].error

    def test_one_that_died_between_two_rounds(self, rows: Any, net: Any) -> None:
        spec = RunSpec(data="data", engine="ray:workers=1", parties=4, rounds=4, quorum=0.5, lr=0.1)
        run = Run(spec, {"model": net(), "data": rows})

        def kill_one(run: Run) -> None:
            if len(run.records) == 2 and run.status == "running":
                os.kill(pids()[0], signal.SIGKILL)
                end()

        end = run.subscribe(kill_one)
        run.start().wait()
        assert len(run.records) == 4
        assert len([f for record in run.records for f in record.failures]) == 1


@pytest.mark.usefixtures("kept_ray")
def test_pause_and_stop_reach_the_middle_of_a_training(rows: Any, tmp_path: Path) -> None:
    spec = RunSpec(data="data", parties=2, lr=0.1, epochs=10_000_000, engine="ray:workers=2")
    run = Run(spec, {"model": Watched(tmp_path), "data": rows}).start()
    wait_until(lambda: len(batches(tmp_path)) == 2 or run.status == "failed")
    run.pause()
    wait_until(lambda: are_held(tmp_path))
    assert run.status == "paused"
    paused_at = batches(tmp_path)
    run.resume()
    wait_until(lambda: all(batches(tmp_path)[each] > num for each, num in paused_at.items()))
    run.stop()  # waits for the training, which would not end by itself
    assert run.status == "stopped"
    assert not run.records
    run.change(epochs=1)
    run.more(1).wait()
    assert len(run.records) == 1


@pytest.mark.usefixtures("kept_ray")
def test_what_workers_print_is_in_no_cell(rows: Any, capfd: pytest.CaptureFixture[str]) -> None:
    class Printing(Viewing):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            os.write(1, b"by the system\n")
            sys.stderr.write("by a worker\n")
            return super().forward(x)

    from fusion_nb.runs.build import build

    build(RunSpec(data="data", parties=2, lr=0.1), {"model": Printing(), "data": rows})
    capfd.readouterr()
    spec = RunSpec(data="data", parties=2, lr=0.1, rounds=2, engine="ray")
    Run(spec, {"model": Printing(), "data": rows}).start().wait()
    seen = capfd.readouterr()
    assert "ray" not in (seen.out + seen.err).lower()


class TestRaysOfTheirOwn:
    """Each of these starts a Ray; the kernel is another process."""

    def test_a_script_of_its_own_class_leaves_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(SCRIPT)
        printed = [
            subprocess.run(
                [sys.executable, "mine.py", engine, "3"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            )
            for engine in ("ray:workers=2", "local")
        ]
        assert printed[0].stdout == printed[1].stdout
        assert printed[0].stderr == ""

    def test_no_worker_outlives_a_kernel_that_is_killed(self, tmp_path: Path) -> None:
        import psutil

        (tmp_path / "mine.py").write_text(SCRIPT)
        kernel = subprocess.Popen(
            [sys.executable, "mine.py", "ray:workers=1", "1000000"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
        )
        wait_until((tmp_path / "trains").exists)
        # Ray's own agents look once a minute whether their node is still there.
        started = [
            child
            for child in psutil.Process(kernel.pid).children(recursive=True)
            if "PartyActor" in " ".join(child.cmdline())
        ]
        assert started
        os.kill(kernel.pid, signal.SIGKILL)
        kernel.wait()
        wait_until(
            lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in started)
        )
