"""FedAsync on the simulated clock beside APPFL's virtual-time simulator: one small case.

APPFL and this package do not share constraints: install both in an environment of their own
(`pip install appfl torch`), and run `python -m benchmarks.appfl` there with this folder on the
path. The same parties train full batches with plain SGD on the same rows, and take the same times;
the order of the arrivals, their times, their staleness and the weights are compared.
"""

from __future__ import annotations

import copy
import logging
from typing import Any

import numpy as np
import torch
from torch import nn

import fusion_nb

#: Times of a batch of the parties, in times of the fastest; no two arrivals fall together.
FACTORS = (1.0, 1.7, 2.3, 3.1, 4.3)
UPDATES, LR, ALPHA, STEP_SECONDS = 40, 0.1, 0.6, 0.5


def rows() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return each party's rows."""
    rng = np.random.default_rng(0)
    found = {}
    for i in range(len(FACTORS)):
        y = rng.integers(3, size=20)
        x = rng.normal(size=(20, 5)) + 2 * np.eye(3, 5)[y]
        found[f"party {i + 1}"] = (x.astype("float32"), y)
    return found


def net() -> nn.Module:
    """Return the model, always with the same weights."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def ours() -> tuple[list[tuple[float, str, int]], dict[str, np.ndarray]]:
    """Return the arrivals (time, party, staleness) and the last weights of this package."""
    from fusion_nb.core import registry
    from fusion_nb.core.clock.profiles import Device, Devices

    class Given(Devices):
        """Devices with the factors above."""

        def device(self, index: int, rng: np.random.Generator) -> Device:
            """Return the device of a party."""
            return Device(FACTORS[index])

    registry.register("devices", "given", Given)
    run = fusion_nb.federate(
        net(),
        {name: (data, data) for name, data in rows().items()},
        fusion=f"fedasync:alpha={ALPHA},staleness=polynomial,a=0.5",
        rounds=UPDATES,
        lr=LR,
        batch_size=20,
        devices="given",
        step_seconds=STEP_SECONDS,
        holdout=0,
    )
    arrivals = [
        (trip.end, party, record.round - 1 - trip.version)
        for record in run.history
        for party, trip in record.trips.items()
    ]
    return arrivals, dict(run.weights)


class Client:
    """A client as APPFL's driver asks it: it trains a full batch."""

    def __init__(self, name: str, data: tuple[np.ndarray, np.ndarray]) -> None:
        self._name, self._model = name, net()
        self._x, self._y = (torch.from_numpy(part) for part in data)

    def get_id(self) -> str:
        """Return its name."""
        return self._name

    def load_parameters(self, found: Any) -> None:
        """Take over weights."""
        self._model.load_state_dict(found)

    def train(self) -> None:
        """Do a step."""
        optimizer = torch.optim.SGD(self._model.parameters(), LR)
        optimizer.zero_grad()
        nn.functional.cross_entropy(self._model(self._x), self._y).backward()
        optimizer.step()

    def get_parameters(self) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        """Return its weights, and how many steps it has done."""
        return copy.deepcopy(self._model.state_dict()), {"current_local_steps": 1}


class Server:
    """APPFL's scheduler and aggregator, as its driver asks a server agent."""

    def __init__(self) -> None:
        from appfl.algorithm.aggregator import FedAsyncAggregator
        from appfl.algorithm.scheduler import AsyncScheduler
        from omegaconf import DictConfig

        logger = logging.getLogger("appfl")
        # Its share of an update is alpha / num_clients.
        settings = {
            "alpha": ALPHA,
            "num_clients": 1,
            "staleness_fn": "polynomial",
            "staleness_fn_kwargs": {"a": 0.5},
        }
        self.aggregator = FedAsyncAggregator(net(), DictConfig(settings), logger)
        self.scheduler = AsyncScheduler(DictConfig({}), self.aggregator, logger)

    def get_parameters(self, serial_run: bool = True, client_id: Any = None) -> Any:
        """Return the weights, for a client."""
        return self.aggregator.get_parameters(client_id=client_id)

    def global_update(self, client_id: str, local_model: Any, **found: Any) -> Any:
        """Mix in an update."""
        return self.scheduler.schedule(client_id, local_model, **found)

    def training_finished(self) -> bool:
        """Return whether all updates have come."""
        return bool(self.scheduler.get_num_global_epochs() >= UPDATES)


def theirs() -> tuple[list[tuple[float, str, int]], dict[str, np.ndarray]]:
    """Return the same of APPFL."""
    from appfl.vsim import AsyncSimDriver, ClientProfile

    server = Server()
    clients = [Client(name, data) for name, data in rows().items()]
    profiles = {
        client.get_id(): ClientProfile(factor, 0.0)
        for client, factor in zip(clients, FACTORS, strict=True)
    }
    logger = logging.getLogger("appfl")
    logger.setLevel(logging.ERROR)
    driver = AsyncSimDriver(
        server, clients, profiles, len(FACTORS), logger, base_step_time=STEP_SECONDS
    )
    driver.run()
    arrivals = [(found["vtime"], found["cid"], found["staleness"]) for found in driver.history]
    weights = server.aggregator.get_parameters()
    return arrivals, {name: value.numpy() for name, value in weights.items()}


def main() -> None:
    """Print what is equal, and by how much the rest differs."""
    (here, weights), (there, others) = ours(), theirs()
    print(f"{len(here)} and {len(there)} updates")
    print("parties in the same order:", [a[1] for a in here] == [a[1] for a in there])
    print("staleness equal:", [a[2] for a in here] == [a[2] for a in there])
    print(
        "times differ by at most", max(abs(a[0] - b[0]) for a, b in zip(here, there, strict=True))
    )
    largest = max(float(abs(weights[name] - others[name]).max()) for name in weights)
    print("weights differ by at most", largest)
    print(f"last arrival after {here[-1][0]:g} s; staleness up to {max(a[2] for a in here)}")


if __name__ == "__main__":
    main()
