"""What checkpoints cost: the time of a run that is saved, as a ratio to one that is not.

    python -m benchmarks.checkpoint [repetitions] [seconds]

Two cases: a CNN (the one of PyTorch's MNIST example, 1.2 million numbers) at two parties, and 1,000
parties with a small network each, of whom a tenth trains in a round with states of their own. The
two sides, and the one that saves beside the training, run in turns, so that a busy machine is as
busy for all of them. With FUSION_NB_DATA the rows are those of MNIST, and otherwise they are drawn.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.speed import peers
from fusion_nb import Run, RunSpec
from fusion_nb.runs.checkpoints import saving
from fusion_nb.runs.checkpoints.folder import CheckpointFolder

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


def many() -> tuple[nn.Module, tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """Return the model, the rows and the options of 1,000 small parties."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
    options = {"parties": 1_000, "fraction": 0.1, "fusion": "scaffold", "lr": 0.05}
    return model, rows(20_000), {**options, "batch_size": 10, "evaluate_rows": 5}


def timed(kind: str, case: Any, rounds: int) -> tuple[float, int]:
    """Return the seconds of a run that is saved in one way, and the bytes of what was saved."""
    model, data, options = case()
    with tempfile.TemporaryDirectory() as folder:
        os.environ[saving.VARIABLE] = f"{folder}/cache"
        checkpoint = f"{folder}/named" if kind == "named" else ""
        spec = RunSpec(data="data", rounds=rounds, checkpoint=checkpoint, **options)
        run = Run(spec, {"model": model, "data": data}, is_cached=kind == "cache")
        started = time.perf_counter()
        run.start().wait()
        took = time.perf_counter() - started
        size = CheckpointFolder(run.storage.folder).size() if run.storage.folder else 0
    return took, size


def compare(case: Any, repetitions: int, seconds: float) -> Mapping[str, Any]:
    """Return the median ratio of each way of saving to none, over some repetitions."""
    timed("off", case, 1)
    trial = timed("off", case, 2)[0] / 2
    rounds = max(2, round(seconds / trial))
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    sizes: dict[str, int] = {}
    for _ in range(repetitions):
        for kind in KINDS:
            took, sizes[kind] = timed(kind, case, rounds)
            found[kind].append(took)
    ratios = {
        kind: statistics.median(a / b for a, b in zip(found[kind], found["off"], strict=True))
        for kind in KINDS
    }
    return {
        "rounds": rounds,
        "seconds": {kind: [round(s, 2) for s in took] for kind, took in found.items()},
        "ratio": {kind: round(ratio, 3) for kind, ratio in ratios.items()},
        "megabytes": {kind: round(size / 1e6, 1) for kind, size in sizes.items()},
    }


def main(repetitions: int = 3, seconds: float = 10.0) -> None:
    """Print what was found for both cases."""
    torch.set_num_threads(1)
    for name, case in {"CNN of two parties": cnn, "1,000 small parties": many}.items():
        print(name, compare(case, repetitions, seconds), flush=True)


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False)))
