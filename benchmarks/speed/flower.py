"""FedAvg in Flower's simulation engine, as its tutorial writes it: `python -m
benchmarks.speed.flower --rows FILE.npz`.

FILE.npz holds x, y and bounds, party i having the rows bounds[i]:bounds[i+1]; and x_test, y_test if
the result is to be tested. The last line is JSON: the seconds of each round on the server, from
choosing the cohort to the average; the seconds from the start of the process to the last average;
and the accuracy.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Flower and Ray look at these when they are imported.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import numpy as np
import psutil
import torch
from flwr.client import Client, ClientApp, NumPyClient
from flwr.common import Context, FitRes, Parameters, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
from torch import nn

from benchmarks.speed import peers

OPTIMIZERS = {"adadelta": torch.optim.Adadelta, "sgd": torch.optim.SGD}


@functools.cache
def rows(path: str) -> dict[str, np.ndarray]:
    """Return the arrays of a file, which each actor reads once."""
    with np.load(path) as file:
        return dict(file)


def get_parameters(model: nn.Module) -> list[np.ndarray]:
    """Return the weights of a model as arrays."""
    return [value.cpu().numpy() for value in model.state_dict().values()]


def set_parameters(model: nn.Module, parameters: list[np.ndarray]) -> None:
    """Put arrays into a model as its weights."""
    names = model.state_dict().keys()
    model.load_state_dict(
        {name: torch.tensor(value) for name, value in zip(names, parameters, strict=True)}
    )


class Party(NumPyClient):
    """A party that trains a model of its own on its rows."""

    def __init__(self, given: argparse.Namespace, partition: int) -> None:
        self.given = given
        build, self.loss = peers.NETWORKS[given.model]
        self.model = build(0)
        arrays = rows(given.rows)
        mine = slice(*arrays["bounds"][partition : partition + 2])
        self.data = arrays["x"][mine], arrays["y"][mine]

    def fit(
        self, parameters: list[np.ndarray], config: dict[str, Any]
    ) -> tuple[list[np.ndarray], int, dict[str, Any]]:
        """Train on the rows from the server's weights."""
        set_parameters(self.model, parameters)
        peers.plain_loop(
            self.model,
            self.data,
            epochs=self.given.epochs,
            batch_size=self.given.batch_size,
            make_optimizer=lambda weights: OPTIMIZERS[self.given.optimizer](
                weights, lr=self.given.lr
            ),
            loss=self.loss,
        )
        return get_parameters(self.model), len(self.data[0]), {}


class TimedFedAvg(FedAvg):
    """FedAvg that notes when each round began and ended, and keeps the last average."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.spans: list[tuple[float, float]] = []
        self.failures: list[Any] = []
        self.average: Parameters | None = None
        self.age = 0.0

    def configure_fit(self, *arguments: Any, **named: Any) -> list[Any]:
        """Choose the cohort of a round."""
        self._began = time.perf_counter()
        return super().configure_fit(*arguments, **named)

    def aggregate_fit(
        self, server_round: int, results: list[tuple[Any, FitRes]], failures: list[Any]
    ) -> tuple[Parameters | None, dict[str, Any]]:
        """Average what the parties sent."""
        self.average, metrics = super().aggregate_fit(server_round, results, failures)
        self.failures += failures
        self.spans.append((self._began, time.perf_counter()))
        self.age = process_age()
        return self.average, metrics


def process_age() -> float:
    """Return for how many seconds this process has existed."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return time.time() - psutil.Process().create_time()
    # On Linux psutil's creation time is up to a second off: it starts from a boot time in whole
    # seconds.
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def no_tensorflow() -> Iterator[None]:
    """Hide TensorFlow from this process and Flower's actors, which import it if it is there and do
    not use it.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "tensorflow.py").write_text(
            "raise ModuleNotFoundError('hidden', name='tensorflow')\n"
        )
        # Flower hands its actors the path that it has itself.
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            sys.path.remove(folder)


def simulate(given: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of each round, those to the result, and its accuracy where there are rows
    to test it on.
    """
    build, _ = peers.NETWORKS[given.model]
    model = build(0)
    few = min(2, given.parties)
    strategy = TimedFedAvg(
        fraction_fit=given.fraction,
        fraction_evaluate=0.0,
        min_fit_clients=few,
        min_available_clients=few,
        initial_parameters=ndarrays_to_parameters(get_parameters(model)),
    )

    def client_fn(context: Context) -> Client:
        return Party(given, int(context.node_config["partition-id"])).to_client()

    def server_fn(context: Context) -> ServerAppComponents:
        return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=given.rounds))

    with no_tensorflow():
        from flwr.simulation import run_simulation

        run_simulation(
            server_app=ServerApp(server_fn=server_fn),
            client_app=ClientApp(client_fn=client_fn),
            num_supernodes=given.parties,
            backend_config={
                "init_args": {"num_cpus": given.cores, "include_dashboard": False},
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            },
        )
    if strategy.failures or strategy.average is None or len(strategy.spans) < given.rounds:
        sys.exit(
            f"{len(strategy.failures)} failures in {len(strategy.spans)} rounds: "
            f"{strategy.failures[:1]}"
        )
    answer: dict[str, Any] = {
        "rounds": [end - start for start, end in strategy.spans],
        "total": strategy.age,
    }
    with np.load(given.rows) as file:
        if "x_test" in file:
            set_parameters(model, parameters_to_ndarrays(strategy.average))
            answer["accuracy"] = peers.accuracy(model, (file["x_test"], file["y_test"]))
    return answer


def main(arguments: list[str] | None = None) -> None:
    """Print the answer as one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=list(peers.NETWORKS), default="mlp")
    parser.add_argument("--rows", required=True, metavar="FILE.npz", type=os.path.abspath)
    parser.add_argument("--optimizer", choices=list(OPTIMIZERS), default="sgd")
    for name, default in (
        ("parties", 2),
        ("rounds", 1),
        ("epochs", 1),
        ("batch-size", 32),
        ("cores", 2),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, share in (("lr", 0.05), ("fraction", 1.0)):
        parser.add_argument(f"--{name}", type=float, default=share)
    print(json.dumps(simulate(parser.parse_args(arguments))), flush=True)


if __name__ == "__main__":
    # Under its own name the module is pickled by reference, so that what an actor has read stays
    # read.
    from benchmarks.speed import flower

    flower.main()
