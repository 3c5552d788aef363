"""A sweep of 24 small runs beside the same 24 runs by hand: `python -m benchmarks.sweep`.

By hand is a loop of `federate()` calls in one process, each of which reads and divides its data.
A sweep reads and divides them once for each split; with `workers=2` it trains two runs at once.
All three train the same curves, which is checked. Times are the least of three.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import fusion_nb

FUSIONS = ["fedavg", "fedprox:mu=0.01", "fedprox:mu=1", "scaffold"]
RATES, SEEDS = [0.01, 0.1], range(3)
OPTIONS: dict[str, Any] = {"rounds": 3, "parties": 4, "split": "dirichlet:alpha=0.5"}


def network() -> Any:
    """Return the small network of the runs."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))


def seeded_network(seed: int) -> Any:
    """Return the network with the first weights of a seed."""
    import torch

    torch.manual_seed(seed)
    return network()


def by_hand() -> list[list[float]]:
    """Train all in a loop."""
    return [
        fusion_nb.federate(
            seeded_network(seed), "digits", fusion=fusion, lr=lr, seed=seed, **OPTIONS
        ).history["loss"]
        for fusion, lr, seed in itertools.product(FUSIONS, RATES, SEEDS)
    ]


def as_sweep(workers: int) -> list[list[float]]:
    """Train all as one experiment."""
    made = fusion_nb.sweep(
        network, "digits", fusion=FUSIONS, lr=RATES, seeds=SEEDS, workers=workers, **OPTIONS
    )
    return [trial.history["loss"] for trial in made.runs]


def timed(train: Callable[[], list[list[float]]]) -> tuple[float, list[list[float]]]:
    """Return the seconds of a training, and its curves."""
    begin = time.perf_counter()
    curves = train()
    return time.perf_counter() - begin, curves


def main(repeats: int = 3) -> None:
    """Print the times as JSON."""
    ways: dict[str, Callable[[], list[list[float]]]] = {
        "by hand": by_hand,
        "sweep": lambda: as_sweep(0),
        "sweep, 2 workers": lambda: as_sweep(2),
    }
    timed(lambda: as_sweep(0)[:1])  # loads what all of them need
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        curves = {}
        for name, train in ways.items():  # one after the other, so that all meet the same load
            seconds, curves[name] = timed(train)
            found[name].append(seconds)
        assert all(each == curves["by hand"] for each in curves.values()), "the curves differ"
    least = {name: round(min(times), 2) for name, times in found.items()}
    shares = {name: round(seconds / least["by hand"], 2) for name, seconds in least.items()}
    json.dump({"seconds": least, "share of by hand": shares, "runs": 24}, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
