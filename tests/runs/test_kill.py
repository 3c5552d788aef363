"""kill -9 at random moments: no whole round that was told is missing after it, and the run goes on
to the curve of one that was never interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from saved_runs import Case, assert_same

from fusion_nb import Run
from fusion_nb.runs.checkpoints.folder import CheckpointFolder

NUM_ROUNDS = 40
OPTIONS = {"rounds": NUM_ROUNDS, "fusion": "scaffold", "personal": "", "epochs": 2}
#: Seconds after which a child that says nothing has hung.
TIMEOUT = 120

#: Trains and tells each round, as a kernel does.
CHILD = """
import sys
sys.path[:0] = {paths!r}
from saved_runs import Case
from fusion_nb import Run, RunSpec
import torch
torch.set_num_threads(1)
case = Case({options!r}, is_seeded=True)
spec = case.spec.model_copy(update={{"checkpoint": {checkpoint!r}}})
run = Run(spec, case.namespace())
told = 0
def tell(run):
    global told
    if len(run.records) > told or run.status == "running" and not told:
        told = len(run.records)
        print("told", told, flush=True)
run.subscribe(tell)
run.start().wait()
"""


@pytest.fixture(scope="module")
def whole() -> Run:
    """The run that nothing interrupts."""
    return Case(OPTIONS, is_seeded=True).start(None)


def launch(checkpoint: str, engine: str) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    code = CHILD.format(
        paths=[str(here), str(here.parent), str(here.parents[1])],
        options={**OPTIONS, "engine": engine},
        checkpoint=checkpoint,
    )
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def last_told(lines: list[str]) -> int:
    return max(int(line.split()[1]) for line in lines)


def check_kill(moment: random.Random, folder: Path, engine: str, whole: Run, target: str) -> None:
    """Kill a run, or one of its worker processes, at a random moment; then resume it.

    Every other run keeps more checkpoints, and so writes one for each round, however quick.
    """
    is_shared = moment.random() < 0.5
    child = launch(f"{folder}:keep={2 if is_shared else 3}", engine)
    assert child.stdout is not None
    try:
        lines = [child.stdout.readline()]  # training begins
        time.sleep(moment.uniform(0, 1.5))
        if target == "worker":
            workers = psutil.Process(child.pid).children() if child.poll() is None else []
            for worker in workers[:1]:
                worker.send_signal(signal.SIGKILL)
        else:
            child.kill()
        lines += child.communicate(timeout=TIMEOUT)[0].splitlines(keepends=True)
    finally:
        child.kill()
        child.wait()
    told = last_told([line for line in lines if line.endswith("\n")])
    if not told and not CheckpointFolder(folder).rounds():
        return  # killed before the first round
    found = CheckpointFolder(folder).latest()
    assert found.round >= told
    assert is_shared or found.round <= told + 1
    case = Case({**OPTIONS, "engine": engine}, is_seeded=True, anew={"engine": "local"})
    resumed = case.resume(folder)
    assert_same(resumed, whole)


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
def test_no_round_is_lost(number: int, whole: Run, tmp_path: Path) -> None:
    check_kill(random.Random(number), tmp_path / "saved", "local", whole, "kernel")


#: (number of the moment, engine, what is killed): 100 moments.
MOMENTS: list[Any] = [
    *((number, "local", "kernel") for number in range(40)),
    *((number, "process:workers=1", "kernel") for number in range(40, 70)),
    *((number, "process:workers=1", "worker") for number in range(70, 100)),
]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "engine", "target"), MOMENTS)
def test_no_round_is_lost_at_any_moment(
    number: int, engine: str, target: str, whole: Run, tmp_path: Path
) -> None:
    check_kill(random.Random(number), tmp_path / "saved", engine, whole, target)
