"""Modules and runs that the tests of engines share."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fusion_nb import RunSpec
from fusion_nb.runs.run import Run

UNEVEN = "dirichlet:alpha=1"


def wait_until(condition: Callable[[], Any], seconds: float = 240) -> Any:
    """Wait until a condition holds, and return its value; the limit only ends a hang."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
    return found


def finished(engine: str, rows: Any, model: Any, **options: Any) -> Run:
    """Return a run on an engine, after its last round."""
    given = {"parties": 5, "lr": 0.1, "batch_size": 8, "split": UNEVEN, "rounds": 3, **options}
    spec = RunSpec(data="data", engine=engine, **given)
    return Run(spec, {"model": model, "data": rows}).start().wait()


def curve(
    engine: str, rows: Any, model: Any, rounds: int = 3, **options: Any
) -> list[dict[str, Any]]:
    """Return all metrics of a run, those of parties too."""
    run = finished(engine, rows, model, rounds=rounds, **options)
    return [{**r.metrics, **{p: dict(m) for p, m in r.party_metrics.items()}} for r in run.records]


def flat(found: Any) -> list[float]:
    """Return all numbers of a curve."""
    if isinstance(found, dict):
        return [number for name in sorted(found) for number in flat(found[name])]
    if isinstance(found, list):
        return [number for each in found for number in flat(each)]
    return [found]


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a module whose first weights are always the same."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return make()


class Drops(nn.Module):
    """Dropout by module and by function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 16), nn.Linear(16, 3)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(F.dropout(self.drop(self.first(x).relu()), 0.2, self.training))


class Normed(nn.Sequential):
    """A network with batch normalization."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


class Viewing(nn.Module):
    """A network as people write it, whose forward is no chain of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.fc1(x.view(x.size(0), -1)))
        return F.log_softmax(self.fc2(x), dim=1)


class Watched(Viewing):
    """A network that tells, from another process, of its batches and of the pauses between them.

    folder: of a file for each process that trains it, with a "b" for each batch, and an "s" for
            each time that its thread sleeps, as it does again and again where the run is held
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.kernel = str(folder), os.getpid()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and os.getpid() != self.kernel:
            _note_sleeps(self.folder, threading.get_ident())
            _note(self.folder, "b")
        return super().forward(x)


def batches(folder: Path) -> dict[str, int]:
    """Return how many batches each process of a `Watched` network had."""
    return {file.name: file.read_text().count("b") for file in folder.iterdir()}


def are_held(folder: Path) -> bool:
    """Return whether each of the processes slept five times since its last batch."""
    return all(file.read_text().endswith("s" * 5) for file in folder.iterdir())


def _note(folder: str, letter: str) -> None:
    with open(f"{folder}/{os.getpid()}", "a") as file:
        file.write(letter)


@functools.cache
def _note_sleeps(folder: str, thread: int) -> None:
    sleep = time.sleep

    def noted(seconds: float) -> None:
        if threading.get_ident() == thread:
            _note(folder, "s")
        sleep(seconds)

    time.sleep = noted


def images(count: int = 90) -> Any:
    rng = np.random.default_rng(0)
    y = np.arange(count) % 3
    x = rng.normal(size=(count, 1, 6, 6)) + np.eye(3, 36)[y].reshape(count, 1, 6, 6) * 3
    return x.astype(np.float32), y


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )


def check_thread_settings() -> None:
    """Check, in a process of its own, that a run restores the number of torch's threads."""
    torch.set_num_threads(2)
    seen: list[int] = []

    class Looking(Viewing):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return super().forward(x)

    x = np.random.default_rng(0).normal(size=(240, 5)).astype(np.float32)
    finished("local", (x, np.arange(240) % 3), Looking())
    assert torch.get_num_threads() == 2
    in_thread: list[int] = []
    thread = threading.Thread(target=lambda: in_thread.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert in_thread == [2], "new threads get the setting too"
    assert 1 in seen


#: A script that trains a model of its own: argv is the engine and the number of rounds. Its model
#: writes a file "trains" once a worker (a thread or a process) trains.
SCRIPT = """
import os, sys, threading, time
import numpy as np
import torch
from torch import nn
from fusion_nb import Run, RunSpec

class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)
    def forward(self, x):
        in_main_process = os.environ.setdefault("KERNEL", str(os.getpid())) == str(os.getpid())
        if not in_main_process or threading.current_thread() is not threading.main_thread():
            open("trains", "a").close()
        return self.layer(x)

torch.manual_seed(0)
rows = np.random.default_rng(0).normal(size=(240, 5)).astype("float32"), np.arange(240) % 3
spec = RunSpec(data="rows", engine=sys.argv[1], parties=4, rounds=int(sys.argv[2]), lr=0.1)
run = Run(spec, {"model": Mine(), "rows": rows}).start()
print("started", flush=True)
run.wait()
print([record.metrics for record in run.records], flush=True)
"""
