"""Many parties on a GPU, stacked and one after the other: `python -m benchmarks.gpu`.

For each network, the seconds of a round by `vectorized` and by `local` on the same card, in turn,
and how far their first curves are apart. Without a CUDA device it says so, and runs one tiny case
on the CPU to show that the script works.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

import fusion_nb


def cnn() -> nn.Module:
    """Return a CNN of about 26,000 numbers for images of 28 x 28."""
    first = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(8, 16, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(400, 60), nn.Linear(60, 10))


def mlp() -> nn.Module:
    """Return the perceptron of the FedAvg paper."""
    hidden = [nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(200, 10))


NETWORKS = {"cnn": cnn, "mlp": mlp}


def seconds(
    engine: str, make: Callable[[], nn.Module], parties: int, each: int, epochs: int
) -> tuple[float, float]:
    """Return the median seconds of a round without the first and the last, and the first loss."""
    rng = np.random.default_rng(0)
    x = rng.random((parties * each, 1, 28, 28), dtype=np.float32)
    y = rng.integers(0, 10, len(x))
    torch.manual_seed(0)
    run = fusion_nb.federate(
        make(), ((x, y), (x[:200], y[:200])), parties=parties, rounds=4, epochs=epochs,
        batch_size=10, lr=0.05, holdout=0.0, engine=engine,
    )  # fmt: skip
    return statistics.median(r.seconds for r in run.records[1:-1]), run.history["loss"][0]


def main(arguments: list[str] | None = None) -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parties", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--rows", type=int, default=50, help="rows of each party")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--repetitions", type=int, default=3)
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("no CUDA device: one tiny case on the CPU, whose times say nothing about a GPU")
        given.parties, given.rows, given.epochs, given.repetitions = [10], 20, [1], 1
    else:
        print(f"device: {torch.cuda.get_device_name()}, torch {torch.__version__}")
    for name, parties, epochs in itertools.product(given.networks, given.parties, given.epochs):
        taken: dict[str, list[tuple[float, float]]] = {"local": [], "vectorized": []}
        for _ in range(given.repetitions):
            for engine, found in taken.items():
                found.append(seconds(engine, NETWORKS[name], parties, given.rows, epochs))
        alone, stacked = (statistics.median(s for s, _ in each) for each in taken.values())
        apart = abs(taken["local"][0][1] - taken["vectorized"][0][1])
        print(
            f"{name}, {parties} parties x {given.rows} rows, {epochs} epochs: "
            f"local {1e3 * alone:.1f} ms a round, vectorized {1e3 * stacked:.1f} ms, "
            f"{alone / stacked:.1f} times as fast; losses of round 1 differ by {apart:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
