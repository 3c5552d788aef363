"""The engine of worker processes: its curve, and what becomes of processes that end."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_runs import SCRIPT, Viewing, Watched, are_held, batches, curve, finished, wait_until

from fusion_nb import RunSpec
from fusion_nb.engines import process, shared_memory
from fusion_nb.errors import OptionError, PartyError
from fusion_nb.runs.build import build
from fusion_nb.runs.run import Run

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="the process engine needs Linux or macOS"
)


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

    def test_the_processes_compute_by_the_settings_of_this_one(self, rows: Any, net: Any) -> None:
        class Noisy(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = net()

            def forward(self, x: Any) -> Any:
                return self.inner(x + 0.1 * torch.randn(x.shape).to(x.dtype))

        torch.set_default_dtype(torch.float64)
        try:
            here, beside = (curve(engine, rows, Noisy()) for engine in ("local", "process"))
        finally:
            torch.set_default_dtype(torch.float32)
        assert beside == here
        assert curve("local", rows, Noisy()) != here

    @pytest.mark.slow
    def test_new_processes_continue_with_the_parties_states(self, rows: Any, net: Any) -> None:
        whole = finished("local", rows, net(), rounds=4, fusion="scaffold")
        run = finished("process:workers=2", rows, net(), rounds=2, fusion="scaffold")
        run.more(2).wait()
        assert [r.metrics for r in run.records] == [r.metrics for r in whole.records]

    @pytest.mark.slow
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
    @pytest.mark.slow
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
    spec = RunSpec(data="data", parties=2, lr=0.1, epochs=10_000_000, engine="process:workers=2")
    run = Run(spec, {"model": Watched(tmp_path), "data": rows}).start()
    wait_until(lambda: len(batches(tmp_path)) == 2)
    run.pause()
    wait_until(lambda: are_held(tmp_path))
    assert run.status == "paused"
    paused_at = batches(tmp_path)
    run.resume()
    wait_until(lambda: all(batches(tmp_path)[each] > num for each, num in paused_at.items()))
    run.stop()  # waits for the training, which would not end by itself
    assert run.status == "stopped"
    assert not run.records


def test_a_model_that_cannot_be_sent_is_refused_before_training(rows: Any) -> None:
    model = Viewing()
    model.lock = threading.Lock()
    with pytest.raises(OptionError, match="can't be sent to another process"):
        build(RunSpec(data="data", engine="process"), {"model": model, "data": rows})


class TestSharedMemory:
    """A file in a full /dev/shm must give an error, and not end the kernel by a signal."""

    @pytest.fixture
    def memory_is_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let no file in shared memory have room for more than a page."""
        reserve = shared_memory.SharedFile.reserve

        def full(file: shared_memory.SharedFile, size: int) -> None:
            if size > 4096 and id(file) in in_memory:
                raise OSError(errno.ENOSPC, "No space left on device")
            reserve(file, size)

        in_memory: set[int] = set()
        create = shared_memory.SharedFile.create

        def noted(*, in_memory_wanted: bool) -> shared_memory.SharedFile:
            made = create(in_memory=in_memory_wanted)
            if in_memory_wanted:
                in_memory.add(id(made))
                kept.append(made)
            return made

        kept: list[shared_memory.SharedFile] = []
        monkeypatch.setattr(shared_memory.SharedFile, "reserve", full)
        monkeypatch.setattr(
            shared_memory.SharedFile,
            "create",
            lambda *, in_memory: noted(in_memory_wanted=in_memory),
        )
        monkeypatch.setattr(process, "free_memory", lambda: 4096)

    @pytest.mark.usefixtures("memory_is_full")
    def test_files_are_used_instead_and_a_note_says_so(self, rows: Any, net: Any) -> None:
        run = finished("process:workers=1", rows, net(), rounds=1, parties=2)
        local = finished("local", rows, net(), rounds=1, parties=2)
        assert [r.metrics for r in run.records] == [r.metrics for r in local.records]
        assert any("has room for 0.0 of" in note and "--shm-size" in note for note in run.notes)

    def test_no_room_at_all_is_one_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(file: shared_memory.SharedFile, size: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(shared_memory.SharedFile, "reserve", full)
        with pytest.raises(OptionError, match=r"has no room for 8\.0 MB that its processes share"):
            shared_memory.pack(np.zeros(1_000_000), shared_memory.Arena())

    def test_room_is_taken_before_anything_is_written(self) -> None:
        file = shared_memory.SharedFile.create(in_memory=False)
        file.reserve(1 << 20)
        assert os.fstat(file.fd).st_blocks * 512 >= 1 << 20

    def test_a_file_system_that_cannot_reserve_is_filled(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def cannot(fd: int, begin: int, size: int) -> None:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")

        monkeypatch.setattr(os, "posix_fallocate", cannot)
        file = shared_memory.SharedFile.create(in_memory=False)
        file.reserve(3 << 20)
        assert os.fstat(file.fd).st_size == 3 << 20


def workers() -> list[Any]:
    import psutil

    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # one of another test has ended
            if any("process_worker" in word for word in child.cmdline()):
                found.append(child)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("quorum", [0.5, 1.0])
def test_a_worker_that_died_between_two_rounds_is_a_failure_of_its_party(
    rows: Any, net: Any, quorum: float
) -> None:
    options = {"parties": 4, "rounds": 5, "quorum": quorum, "lr": 0.1}
    spec = RunSpec(data="data", engine="process:workers=2", **options)
    run = Run(spec, {"model": net(), "data": rows})

    def kill_one(run: Run) -> None:
        if len(run.records) == 2 and run.status == "running":
            workers()[0].kill()
            end()

    end = run.subscribe(kill_one)
    run.start()
    if quorum == 1:
        with pytest.raises(PartyError, match="its worker process ended"):
            run.wait()
        assert len(run.records) == 2
        run.more(3).wait()  # with new processes
    else:
        run.wait()
        assert len([f for record in run.records for f in record.failures]) == 1
    assert len(run.records) == 5
    assert not workers()


def test_a_stop_does_not_wait_for_workers_that_start(rows: Any, net: Any) -> None:
    spec = RunSpec(data="data", engine="process:workers=2", rounds=3)
    run = Run(spec, {"model": net(), "data": rows}).start()
    wait_until(lambda: bool(workers()))
    run.stop()
    assert (run.status, len(run.records), workers()) == ("stopped", 0, [])
    run.more(1).wait()
    assert len(run.records) == 1


def test_workers_have_a_session_of_their_own(rows: Any, net: Any) -> None:
    """Or an interrupt of the kernel's group would end them."""
    spec = RunSpec(data="data", engine="process:workers=2", rounds=1_000_000)
    run = Run(spec, {"model": net(), "data": rows}).start()
    wait_until(lambda: len(workers()) == 2)
    assert all(os.getsid(worker.pid) == worker.pid for worker in workers())
    run.stop()
