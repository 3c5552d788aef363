"""What others do with the same rows, written as their tutorials write it, on PyTorch."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

Arrays = tuple[np.ndarray, np.ndarray]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


def cnn(seed: int) -> nn.Module:
    """Return the CNN of PyTorch's MNIST example, with weights that depend on the seed alone."""
    # Late, so that a peer that trains the perceptron does not pay for loading fusion_nb.
    from benchmarks.mnist import cnn_model

    with torch.random.fork_rng():
        return cnn_model(seed)


def mlp(seed: int) -> nn.Module:
    """Return the perceptron of the FedAvg paper, two layers of 200, with weights that depend on the
    seed alone.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            *(
                nn.Flatten(),
                nn.Linear(784, 200),
                nn.ReLU(),
                nn.Linear(200, 200),
                nn.ReLU(),
                nn.Linear(200, 10),
            )
        )


#: A network and the loss that fits what it returns, by name.
NETWORKS: dict[str, tuple[Callable[[int], nn.Module], Loss]] = {
    "cnn": (cnn, F.nll_loss),
    "mlp": (mlp, F.cross_entropy),
}


def plain_loop(
    model: nn.Module,
    data: Arrays,
    *,
    epochs: int,
    batch_size: int,
    make_optimizer: MakeOptimizer,
    loss: Loss,
) -> nn.Module:
    """Train the model on all rows in an ordinary loop, and return it."""
    rows = TensorDataset(torch.from_numpy(data[0]), torch.from_numpy(data[1]))
    loader = DataLoader(rows, batch_size=batch_size, shuffle=True)
    optimizer = make_optimizer(model.parameters())
    model.train()
    for _ in range(epochs):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss(model(inputs), labels).backward()
            optimizer.step()
    return model


def naive_fedavg(
    model: nn.Module,
    parties: list[Arrays],
    *,
    rounds: int,
    epochs: int,
    batch_size: int,
    make_optimizer: MakeOptimizer,
    loss: Loss,
    fraction: float = 1.0,
    seed: int = 0,
    on_round: Callable[[int, float], None] | None = None,
) -> nn.Module:
    """Train the model by FedAvg with a copy of it per party, one after the other, and return it.

    The seed decides the cohorts alone. on_round is told the number of each round, from 1, and its
    wall time in seconds.
    """
    rng = random.Random(seed)
    for number in range(1, rounds + 1):
        started = time.perf_counter()
        cohort = rng.sample(parties, max(1, round(fraction * len(parties))))
        states, sizes = [], []
        for party in cohort:
            local = plain_loop(
                copy.deepcopy(model),
                party,
                epochs=epochs,
                batch_size=batch_size,
                make_optimizer=make_optimizer,
                loss=loss,
            )
            states.append(local.state_dict())
            sizes.append(len(party[0]))
        total = sum(sizes)
        average = {
            name: sum(
                state[name] * (size / total) for state, size in zip(states, sizes, strict=True)
            )
            for name in states[0]
        }
        model.load_state_dict(average)
        if on_round is not None:
            on_round(number, time.perf_counter() - started)
    return model


@torch.no_grad()
def accuracy(model: nn.Module, test: Arrays) -> float:
    """Return the share of the rows that the model puts into the right class; the model is left in
    eval mode.
    """
    model.eval()
    batches = DataLoader(
        TensorDataset(torch.from_numpy(test[0]), torch.from_numpy(test[1])), batch_size=100
    )
    hits = sum(int((model(inputs).argmax(1) == labels).sum()) for inputs, labels in batches)
    return hits / len(test[1])


def triad(num_floats: int, repetitions: int = 10) -> float:
    """Return the bytes per second that a = b + s * c moves with all threads, at best; two reads and
    a write count.
    """
    a, b, c = (torch.full((num_floats,), value) for value in (0.0, 1.0, 2.0))
    best = float("inf")
    for _ in range(repetitions + 1):
        started = time.perf_counter()
        torch.add(b, c, alpha=3.0, out=a)
        best = min(best, time.perf_counter() - started)
    return 3 * a.element_size() * num_floats / best
