"""A rehearsal: a SuperLink and nodes on loopback give the local curve, and lose no run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_runs import Drops, Watched, are_held, batches, curve, seeded, wait_until
from torch import nn

import fusion_nb
from fusion_nb import RunSpec
from fusion_nb.errors import RunError
from fusion_nb.runs.run import Run

pytest.importorskip("flwr")
pytestmark = pytest.mark.slow


def pids_of(run: Run) -> dict[str, int]:
    engine: Any = run.federation.network.engine.innermost
    return dict(engine.pids)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Slow(nn.Module):
    """A model that takes 0.05 s for a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.05)
        return self.layer(x)


def started(rows: Any, model: Any, **options: Any) -> Run:
    given = {"parties": 2, "rounds": 5, "lr": 0.1, "batch_size": 8, **options}
    spec = RunSpec(data="data", engine="flower", **given)
    return Run(spec, {"model": model, "data": rows}).start()


@pytest.mark.parametrize("fusion", ["scaffold", "fda:theta=0.01"])
@pytest.mark.parametrize("nodes", [2, 5])
def test_the_curve_is_the_local_one(nodes: int, fusion: str, rows: Any) -> None:
    local = curve("local", rows, seeded(Drops), fusion=fusion)
    assert curve(f"flower:nodes={nodes}", rows, seeded(Drops), fusion=fusion) == local


def test_a_killed_node_is_a_failure_of_its_party_and_comes_back(rows: Any) -> None:
    run = started(rows, seeded(Slow), quorum=0.5, rounds=3)
    wait_until(lambda: len(run.records) == 1)
    os.kill(pids_of(run)["node 2"], signal.SIGKILL)
    run.wait()
    assert run.status == "finished"
    failed = [[failure.party for failure in record.failures] for record in run.records]
    assert ["party 2"] in failed
    assert failed[-1] == [] or failed[-2] == []
    assert "node has ended" in run.failures[0].error


def test_a_killed_superlink_ends_the_run_which_can_be_resumed(rows: Any, tmp_path: Path) -> None:
    folder = str(tmp_path / "kept")
    run = started(rows, seeded(Slow), checkpoint=folder, rounds=4)
    wait_until(lambda: len(run.records) == 1)
    os.kill(pids_of(run)["SuperLink"], signal.SIGKILL)
    with pytest.raises(RunError, match="is gone"):
        run.wait()
    kept = len(run.records)
    model = seeded(Slow)
    again = fusion_nb.resume(folder, model=model, data=rows, engine="local")
    whole = fusion_nb.federate(
        model, rows, parties=2, rounds=4, lr=0.1, batch_size=8, engine="local"
    )
    assert 1 <= kept < 4
    assert [r.metrics for r in again.records] == [r.metrics for r in whole.records]


def test_a_stop_within_a_batch_ends_it_and_leaves_no_process(rows: Any) -> None:
    run = started(rows, seeded(Slow), epochs=1000)
    pids = wait_until(lambda: len(found := pids_of(run)) == 3 and found)
    run.stop().wait()
    assert run.status == "stopped"
    run.federation.close()
    wait_until(lambda: not any(alive(pid) for pid in pids.values()))


def test_a_pause_holds_the_nodes(rows: Any, tmp_path: Path) -> None:
    run = started(rows, Watched(tmp_path), epochs=10_000_000)
    wait_until(lambda: len(batches(tmp_path)) == 2)
    run.pause()
    wait_until(lambda: are_held(tmp_path))
    paused_at = batches(tmp_path)
    run.resume()
    wait_until(lambda: all(batches(tmp_path)[each] > num for each, num in paused_at.items()))
    run.stop().wait()


def test_the_processes_end_with_a_killed_kernel(tmp_path: Path) -> None:
    script = """
import numpy as np, fusion_nb, time, torch
from torch import nn
class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)
    def forward(self, x):
        time.sleep(0.05)
        return self.layer(x)
x = np.random.default_rng(0).normal(size=(80, 5)).astype("float32")
run = fusion_nb.federate(
    Slow(), (x, (x[:, 0] > 0).astype(int)), parties=2, epochs=1000, engine="flower", background=True
)
while len(run.federation.network.engine.innermost.pids) < 3:
    time.sleep(0.05)
print(*run.federation.network.engine.innermost.pids.values(), flush=True)
run.wait()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as kernel:
        assert kernel.stdout is not None
        pids = [int(word) for word in kernel.stdout.readline().split()]
        assert len(pids) == 3
        assert all(alive(pid) for pid in pids)
        kernel.kill()
    wait_until(lambda: not any(alive(pid) for pid in pids))


def test_a_party_that_raises_is_a_failure_with_its_traceback() -> None:
    class Fails(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if torch.is_grad_enabled() and bool((x > 100).any()):
                raise ValueError("an extreme value")
            return super().forward(x)

    rng = np.random.default_rng(0)
    parties = {
        f"clinic {i}": (
            rng.normal(size=(40, 5)).astype("float32") + 1000 * (i == 2),
            rng.integers(0, 3, 40),
        )
        for i in (1, 2)
    }
    spec = RunSpec(data="data", engine="flower", quorum=0.5, rounds=1)
    run = Run(spec, {"model": Fails(5, 3), "data": parties}).start().wait()
    assert run.failures[0].party == "clinic 2"
    assert "an extreme value" in run.failures[0].traceback
