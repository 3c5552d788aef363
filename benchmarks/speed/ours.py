"""FedAvg in fusion_nb, on the files and options that `flower` takes: `python -m
benchmarks.speed.ours --rows FILE.npz`.

The last line is JSON: the seconds of each round, those from the start of the process to the result,
and its accuracy.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
import psutil
from torch import nn

from benchmarks.speed import peers
from fusion_nb import Run, federate, split
from fusion_nb.core.registry import names

Arrays = tuple[np.ndarray, np.ndarray]
#: Rows of a test set that costs next to nothing: peers measure nothing while they train.
_FEW = 32


def run(
    model: nn.Module, train: Arrays, test: Arrays, *, parties: int, rounds: int, **options: Any
) -> Run:
    """Return the ended run of parties that have equal shares of the rows, in the order in which
    they come.
    """
    if "as_they_come" not in names("splits"):
        split(as_they_come)
    few = (test[0][:_FEW], test[1][:_FEW])
    given = {"split": "as_they_come", "holdout": 0.0, "evaluate_every": 10**6, **options}
    return federate(model, (train, few), parties=parties, rounds=rounds, **given)


def as_they_come(
    labels: np.ndarray, num_parties: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Give each party the next rows."""
    return np.array_split(np.arange(len(labels)), num_parties)


def simulate(given: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of each round, those to the result, and its accuracy."""
    with np.load(given.rows) as file:
        rows = dict(file)
    done = run(
        peers.NETWORKS[given.model][0](0),
        (rows["x"], rows["y"]),
        (rows["x_test"], rows["y_test"]),
        parties=given.parties,
        rounds=given.rounds,
        epochs=given.epochs,
        batch_size=given.batch_size,
        lr=given.lr,
        optimizer=given.optimizer,
        fraction=given.fraction,
        engine=given.engine,
    )
    model = done.model
    total = time.time() - psutil.Process().create_time()
    accuracy = peers.accuracy(model, (rows["x_test"], rows["y_test"]))
    return {
        "rounds": [record.seconds for record in done.records],
        "total": total,
        "accuracy": accuracy,
    }


def main(arguments: list[str] | None = None) -> None:
    """Print the answer as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=list(peers.NETWORKS), default="mlp")
    parser.add_argument("--rows", required=True, metavar="FILE.npz")
    parser.add_argument("--optimizer", default="sgd")
    parser.add_argument("--engine", default="auto")
    for name, default in (("parties", 2), ("rounds", 1), ("epochs", 1), ("batch-size", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, share in (("lr", 0.05), ("fraction", 1.0)):
        parser.add_argument(f"--{name}", type=float, default=share)
    print(json.dumps(simulate(parser.parse_args(arguments))), flush=True)


if __name__ == "__main__":
    main()
