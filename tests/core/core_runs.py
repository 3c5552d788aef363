"""Runs and models that the tests of the loop share."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.core.protocols import NeedsAgreement
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import TrainingResult, Update
from fusion_nb.models.base import Model


def run_of(rows: Any, model: Any, **options: Any) -> Run:
    defaults: dict[str, Any] = {"lr": 0.1, "rounds": 4}
    return Run(RunSpec(data="data", **defaults | options), {"model": model, "data": rows})


class BreaksAfter(nn.Module):
    """A network that calls a function once all its copies together have trained some batches.

    Batches count from `begin` on: those before are tried when a run is made.
    """

    #: Batches since `begin`, or None before it. The class counts, since copies train.
    num_batches: int | None = None

    def __init__(self, after: int, fault: Callable[[], Any]) -> None:
        super().__init__()
        self.layer, self.after, self.fault = nn.Linear(5, 3), after, fault
        BreaksAfter.num_batches = None

    @staticmethod
    def begin(run: Run) -> Run:
        """Count from here on, and start a run that was made with such a network."""
        BreaksAfter.num_batches = 0
        return run.start()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and BreaksAfter.num_batches is not None:
            BreaksAfter.num_batches += 1
            if BreaksAfter.num_batches > self.after:
                self.fault()
        return self.layer(x)


class ClassMeans(NeedsAgreement, Model):
    """A model without a framework: each class's mean, on a scale that parties agree on."""

    metrics = ("loss",)

    def __init__(self) -> None:
        self.weights = {"means": np.zeros((3, 5))}
        self.scale = 1.0

    def clone(self) -> ClassMeans:
        return copy.deepcopy(self)

    def check(
        self, rows: Any, schema: DataSchema, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        return []

    def get_weights(self) -> Any:
        return {name: array.copy() for name, array in self.weights.items()}

    def set_weights(self, weights: Any) -> None:
        self.weights = {name: array.copy() for name, array in weights.items()}

    def fit(self, data: Any, **options: Any) -> TrainingResult:
        x, y = data
        means = [x[y == label].mean(0) / self.scale for label in range(3)]
        self.weights = {"means": np.stack(means, dtype=float)}
        return TrainingResult(self.get_weights(), self.evaluate(data), 1, float("nan"))

    def evaluate(self, data: Any) -> Any:
        x, y = data
        return {"loss": float(((x / self.scale - self.weights["means"][y]) ** 2).mean())}

    def native(self, weights: Any) -> Any:
        return weights["means"]

    def save(self, path: Path, weights: Any, format: str) -> None:
        raise NotADirectoryError

    def collect(self, data: Any) -> Any:
        return {"largest": float(np.abs(data[0]).max())}

    def agree(self, updates: Any) -> float:
        return max(update.extras["largest"] for update in updates)

    def prepare(self, data: Any, state: dict[str, Any], agreed: float) -> None:
        self.scale = state["scale"] = agreed


def mean_of_means(weights: Any, updates: Any) -> Any:
    given: list[Update] = list(updates)
    return {"means": np.mean([update.weights["means"] for update in given], axis=0)}
