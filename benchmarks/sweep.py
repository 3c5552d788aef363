"""A sweep of 24 small runs beside the same 24 runs by hand: `python -m benchmarks.sweep`.

By hand is a loop of `federate()` calls in one process, each of which reads and divides its data.
A sweep reads and divides them once for each split, and is joined by worker processes where its runs
take long; with `workers=0` it is not, and with `workers=2` all runs are theirs from the start. All
train the same curves, which is checked. Runs of 3 rounds take a tenth of a second each, so that
no process is worth its start; those of 100 rounds take a second or two.
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
OPTIONS: dict[str, Any] = {"parties": 4, "split": "dirichlet:alpha=0.5"}
#: Rounds of each run -> how often all is timed; the least time counts.
REPEATS = {3: 3, 100: 1}


def network() -> Any:
    """Return the small network of the runs."""
    from torch import nn

    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))


def seeded_network(seed: int) -> Any:
    """Return the network with the first weights of a seed."""
    import torch

    torch.manual_seed(seed)
    return network()


def by_hand(rounds: int) -> list[list[float]]:
    """Train all in a loop."""
    return [
        fusion_nb.federate(
            *(seeded_network(seed), "digits"),
            **{"fusion": fusion, "lr": lr, "seed": seed, "rounds": rounds, **OPTIONS},
        ).history["loss"]
        for fusion, lr, seed in itertools.product(FUSIONS, RATES, SEEDS)
    ]


def as_sweep(rounds: int, workers: int | str = "auto") -> list[list[float]]:
    """Train all as one experiment."""
    made = fusion_nb.sweep(
        *(network, "digits"),
        **{"fusion": FUSIONS, "lr": RATES, "seeds": SEEDS, "rounds": rounds, **OPTIONS},
        workers=workers,
    )
    return [trial.history["loss"] for trial in made.runs]


def timed(train: Callable[[], list[list[float]]]) -> tuple[float, list[list[float]]]:
    """Return the seconds of a training, and its curves."""
    begin = time.perf_counter()
    curves = train()
    return time.perf_counter() - begin, curves


def compared(rounds: int, repeats: int) -> dict[str, Any]:
    """Return the least seconds of each way, and what share they are of those by hand."""
    ways: dict[str, Callable[[], list[list[float]]]] = {
        "by hand": lambda: by_hand(rounds),
        "sweep": lambda: as_sweep(rounds),
        "sweep, no workers": lambda: as_sweep(rounds, 0),
        "sweep, 2 workers": lambda: as_sweep(rounds, 2),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        curves = {}
        for name, train in ways.items():  # one after the other, so that all meet the same load
            seconds, curves[name] = timed(train)
            found[name].append(seconds)
        assert all(each == curves["by hand"] for each in curves.values()), "the curves differ"
    least = {name: min(times) for name, times in found.items()}
    return {
        "rounds of a run": rounds,
        "seconds": {name: round(seconds, 2) for name, seconds in least.items()},
        "share of by hand": {
            name: round(seconds / least["by hand"], 2) for name, seconds in least.items()
        },
    }


def main() -> None:
    """Print the times as JSON."""
    as_sweep(1, 0)  # loads what all of them need
    json.dump([compared(*each) for each in REPEATS.items()], sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
