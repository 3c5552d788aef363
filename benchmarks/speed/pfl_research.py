"""FedAvg in pfl-research: `python -m benchmarks.speed.pfl_research --rows FILE.npz`.

FILE.npz holds the same as for `flower`. It needs `pfl` among Python's packages, or in the folder
PFL_PACKAGES. The last line is JSON: the seconds of each round, and the accuracy.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

sys.path.append(os.environ.get("PFL_PACKAGES", ""))

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from torch import nn

from benchmarks.speed import peers


class Perceptron(nn.Module):
    """The perceptron with the loss and the metrics that pfl-research asks a model for."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = peers.mlp(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.layers(x)

    def loss(self, x: torch.Tensor, y: torch.Tensor, is_eval: bool = False) -> torch.Tensor:
        """Return the loss of a batch."""
        self.eval() if is_eval else self.train()
        return nn.functional.cross_entropy(self(x), y)

    @torch.no_grad()
    def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
        """Return the metrics of a batch."""
        return {"accuracy": Weighted(int((self(x).argmax(1) == y).sum()), len(y))}


class Clock(TrainingProcessCallback):
    """Takes the time at the end of each round."""

    def __init__(self) -> None:
        self.times = [time.perf_counter()]

    def after_central_iteration(
        self, aggregate_metrics: Any, model: Any, *, central_iteration: int
    ) -> tuple[bool, Any]:
        """Note the time, and go on."""
        self.times.append(time.perf_counter())
        return False, Metrics()


def simulate(given: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of each round, and the accuracy on the test rows."""
    with np.load(given.rows) as file:
        rows = {name: torch.from_numpy(file[name]) for name in file}
    bounds = rows["bounds"].tolist()
    users = list(range(given.parties))

    def data_of(user: int) -> Dataset:
        part = slice(bounds[user], bounds[user + 1])
        return Dataset((rows["x"][part], rows["y"][part]))

    data = FederatedDataset(data_of, get_user_sampler("random", users))
    module, clock = Perceptron(), Clock()
    model = PyTorchModel(module, torch.optim.SGD, torch.optim.SGD(module.parameters(), lr=1.0))
    cohort = max(1, round(given.fraction * given.parties))
    FederatedAveraging().run(
        NNAlgorithmParams(given.rounds, 10**6, cohort, 0),
        SimulatedBackend(data, data),
        model,
        NNTrainHyperParams(given.batch_size, given.epochs, given.lr),
        NNEvalHyperParams(None),
        [clock],
        send_metrics_to_platform=False,
    )
    taken = np.diff(clock.times).tolist()
    test = rows["x_test"].numpy(), rows["y_test"].numpy()
    return {"rounds": taken, "accuracy": peers.accuracy(module, test)}


def main() -> None:
    """Print what a simulation came to as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", required=True)
    for name, kind in (("parties", int), ("rounds", int), ("epochs", int), ("batch-size", int)):
        parser.add_argument(f"--{name}", type=kind, default=1)
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--lr", type=float, default=0.05)
    print(json.dumps(simulate(parser.parse_args())))


if __name__ == "__main__":
    main()
