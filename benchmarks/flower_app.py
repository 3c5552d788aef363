"""The perceptron as an app of Flower, as its template for PyTorch writes it.

The strategy notes when each round began and ended.
Flower's own programs import it; `python -m benchmarks.flower` starts them.
"""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from benchmarks.speed import peers

client, server = ClientApp(), ServerApp()


@client.train()
def train(msg: Message, context: Context) -> Message:
    """Train on the rows of the node's file."""
    model = peers.mlp(0)
    model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    with np.load(str(context.node_config["rows"])) as file:
        data = file["x_train"], file["y_train"]
    peers.plain_loop(
        model,
        data,
        epochs=1,
        batch_size=10,
        make_optimizer=functools.partial(torch.optim.SGD, lr=0.05),
        loss=peers.NETWORKS["mlp"][1],
    )
    metrics = MetricRecord({"num-examples": len(data[0])})
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(content=content, reply_to=msg)


class TimedFedAvg(FedAvg):
    """FedAvg that notes when each round began and ended."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seconds: list[float] = []

    def configure_train(self, *arguments: Any, **named: Any) -> Any:
        """Choose the cohort of a round."""
        self._began = time.perf_counter()
        return super().configure_train(*arguments, **named)

    def aggregate_train(self, *arguments: Any, **named: Any) -> Any:
        """Average what the parties sent."""
        found = super().aggregate_train(*arguments, **named)
        self.seconds.append(time.perf_counter() - self._began)
        return found


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Train for some rounds, and write the seconds of each to a file."""
    strategy = TimedFedAvg(fraction_evaluate=0.0, min_available_nodes=2)
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(peers.mlp(0).state_dict()),
        num_rounds=int(context.run_config["num-server-rounds"]),
    )
    file = Path(str(context.run_config["out"]))
    file.with_suffix(".part").write_text(json.dumps(strategy.seconds))
    file.with_suffix(".part").rename(file)
