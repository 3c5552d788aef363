"""Small PyTorch models and rows, and a loop that trains as plain PyTorch does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import TrainingResult
from fusion_nb.models.torch.adapter import TorchModel

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


CLASSES = np.arange(40) % 3


def checked(
    module: nn.Module, y: np.ndarray = CLASSES, x: np.ndarray = X, **options: Any
) -> TorchModel:
    model = TorchModel(module, device="cpu", **options)
    model.check((x, y), DataSchema.of((x, y)), lr=0.1, optimizer="sgd")
    return model


def fit(model: TorchModel, rows: Any, **options: Any) -> TrainingResult:
    defaults: dict[str, Any] = {
        "epochs": 1,
        "batch_size": 8,
        "lr": 0.1,
        "optimizer": "sgd",
        "seed": 1,
    }
    return model.fit(rows, **defaults | options)


def plain_loop(
    module: nn.Module, steps: torch.optim.Optimizer, *, epochs: int, order: int, dropped: int
) -> None:
    """Train without this package.

    order: the seed of the order of rows;  dropped: the seed of dropout
    """
    torch.manual_seed(dropped)
    generator = torch.Generator().manual_seed(order)
    for _ in range(epochs):
        for batch in torch.randperm(40, generator=generator).split(16):
            steps.zero_grad()
            F.cross_entropy(module(torch.tensor(X)[batch]), torch.tensor(CLASSES)[batch]).backward()
            steps.step()


class Functional(nn.Module):
    def __init__(self, last: Any) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(4, 3), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.layer(x)).view(len(x), -1)
