"""What checkpoints cost: the time of a run that is saved, as a ratio to one that is not.

    python -m benchmarks.checkpoint [repetitions] [seconds]

Three cases: a CNN (the one of PyTorch's MNIST example, 1.2 million numbers) at two parties; 1,000
parties with a small network each, of whom a tenth trains in a round; and the same with SCAFFOLD, by
which each party has a state as large as its model, so that a round changes 5 MB. A run
that is not saved, one in the cache and one in a named folder take turns, and the order changes, so
that a busy machine is as busy for all of them. Seconds of two equal runs differ by some percent, in
which small costs drown: the last columns count the cost itself, which is the processor's time of
the thread that writes, in percent of that of the process, and how long training waited for it, in
percent of the run. With FUSION_NB_DATA the rows are those of MNIST, and otherwise they are drawn.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.speed import peers
from fusion_nb import Run, RunSpec
from fusion_nb.runs.checkpoints import saving
from fusion_nb.runs.checkpoints.folder import CheckpointFolder
from fusion_nb.runs.checkpoints.writer import WriterBeside
from fusion_nb.runs.checkpoints.writer_ahead import WriterAhead

KINDS = ("off", "cache", "named")


def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels: of MNIST where it is there."""
    folder = os.environ.get("FUSION_NB_DATA", "")
    path = Path(folder) / "mnist.npz"
    if folder and path.is_file():
        with np.load(path) as found:
            x, y = found["x_train"][:count], found["y_train"][:count]
        return (x[:, None] / 255).astype(np.float32), y.astype(np.int64)
    rng = np.random.default_rng(0)
    return rng.random((count, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, count)


def cnn() -> tuple[nn.Module, tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """Return the model, the rows and the options of two parties with a CNN."""
    return peers.cnn(0), rows(2_000), {"parties": 2, "lr": 0.05}


def many(fusion: str = "fedavg") -> tuple[nn.Module, tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """Return the model, the rows and the options of 1,000 small parties."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
    options = {"parties": 1_000, "fraction": 0.1, "fusion": fusion, "lr": 0.05}
    return model, rows(20_000), {**options, "batch_size": 10, "evaluate_rows": 5}


CASES: dict[str, Callable[[], Any]] = {
    "CNN of two parties": cnn,
    "1,000 small parties": many,
    "1,000 with SCAFFOLD": lambda: many("scaffold"),
}


@dataclass(frozen=True)
class Cost:
    """The seconds that a run took, and the bytes that were saved.

    processor: seconds of the processor;  writing: those of the thread that writes
    waiting:   seconds in which training waited for a write
    """

    seconds: float
    processor: float
    writing: float
    waiting: float
    size: int


@contextmanager
def counted(owner: type, name: str, clock: Callable[[], float]) -> Iterator[list[float]]:
    """Let the list that this yields grow by what each call of a method takes, by a clock."""
    method, found = getattr(owner, name), []

    def call(*arguments: Any, **named: Any) -> Any:
        begun = clock()
        try:
            return method(*arguments, **named)
        finally:
            found.append(clock() - begun)

    setattr(owner, name, call)
    try:
        yield found
    finally:
        setattr(owner, name, method)


def timed(kind: str, case: Any, rounds: int) -> Cost:
    """Return the cost of a run that is saved in one way."""
    model, data, options = case()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[saving.VARIABLE] = f"{folder}/cache"
        checkpoint = f"{folder}/named" if kind == "named" else ""
        spec = RunSpec(data="data", rounds=rounds, checkpoint=checkpoint, **options)
        run = Run(spec, {"model": model, "data": data}, is_cached=kind == "cache")
        waits = [
            (writer, step) for writer in (WriterAhead, WriterBeside) for step in ("add", "end")
        ]
        with ExitStack() as counting:
            writes = counting.enter_context(counted(CheckpointFolder, "write", time.thread_time))
            waited = [counting.enter_context(counted(*each, time.perf_counter)) for each in waits]
            started, processor = time.perf_counter(), time.process_time()
            run.start().wait()
            took, processor = time.perf_counter() - started, time.process_time() - processor
        size = CheckpointFolder(run.storage.folder).size() if run.storage.folder else 0
    return Cost(took, processor, sum(writes), sum(map(sum, waited)), size)


def compare(case: Any, repetitions: int, seconds: float) -> tuple[int, dict[str, list[Cost]]]:
    """Return the number of rounds that take so long, and the costs of each way of saving."""
    timed("off", case, 1)
    trial = timed("off", case, 4).seconds / 4
    rounds = max(2, round(seconds / trial))
    found: dict[str, list[Cost]] = {kind: [] for kind in KINDS}
    for number in range(repetitions):
        for kind in KINDS if number % 2 == 0 else KINDS[::-1]:
            found[kind].append(timed(kind, case, rounds))
    return rounds, found


def ratio(costs: Mapping[str, list[Cost]], kind: str) -> float:
    """Return the median ratio of the seconds of one way of saving to none, over repetitions."""
    pairs = zip(costs[kind], costs["off"], strict=True)
    return statistics.median(saved.seconds / off.seconds for saved, off in pairs)


def main(repetitions: int = 5, seconds: float = 10.0) -> None:
    """Print the costs of all cases."""
    torch.set_num_threads(1)
    form = "{:20} {:6} {:>6} {:>8} {:>6} {:>9} {:>9} {:>6}"
    print(form.format("case", "saved", "rounds", "seconds", "ratio", "writing", "waiting", "MB"))
    for name, case in CASES.items():
        rounds, costs = compare(case, repetitions, seconds)
        for kind in KINDS:
            found = costs[kind]
            took = statistics.median(cost.seconds for cost in found)
            writing = statistics.median(cost.writing / cost.processor for cost in found)
            waiting = statistics.median(cost.waiting / cost.seconds for cost in found)
            line = form.format(
                name,
                kind,
                rounds,
                f"{took:.2f}",
                f"{ratio(costs, kind):.3f}",
                f"{writing:.2%}",
                f"{waiting:.2%}",
                f"{found[-1].size / 1e6:.1f}",
            )
            print(line, flush=True)


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False)))
