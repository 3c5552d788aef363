"""Fusion by what models predict: one model learns what the parties' models say about rows without
labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fusion_nb.algorithms.fusions.averaging import fedavg
from fusion_nb.core import seeds
from fusion_nb.core.types import Update, Weights
from fusion_nb.models.combining import TINY


class FedDF:
    """Average the parties' weights, and train the mean on until it predicts, on rows without
    labels, what they do.

    The parties' predictions are averaged as logits, which for probabilities is their geometric
    mean.

    Source: Lin, Kong, Stich, Jaggi, "Ensemble Distillation for Robust Model Fusion in Federated
    Learning", NeurIPS 2020.
    """

    local: Mapping[str, Any] = {}

    def __init__(self, rows: np.ndarray, *, epochs: int, lr: float, batch_size: int) -> None:
        self._rows = rows
        self._options: dict[str, Any] = {"epochs": epochs, "lr": lr, "batch_size": batch_size}
        self._model: Any = None

    def meet(self, num_parties: int, trained: frozenset[str], model: Any) -> None:
        """Take the aggregator's model, which predicts with any weights."""
        self._model = model

    def init(self, weights: Weights) -> Any:
        """Return the number of rounds so far."""
        return 0

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the mean, trained on towards the parties' joint predictions."""
        total: Any = 0.0
        count = 0
        unlabelled = (self._rows, np.zeros(len(self._rows), np.int64))

        def watched() -> Iterator[Update]:
            nonlocal total, count
            for update in updates:
                self._model.set_weights(update.weights)
                total, count = total + self._in_logits(self._model.predict(unlabelled)), count + 1
                yield update

        mean, _ = fedavg().fuse(weights, watched(), None)
        shown = self._from_logits(np.asarray(total) / count)
        self._model.set_weights(mean)
        self._model.imitate(
            self._rows, shown, seed=seeds.number(0, "distill", state), **self._options
        )
        return self._model.get_weights(), state + 1

    def _in_logits(self, predictions: np.ndarray) -> np.ndarray:
        predictions = predictions.astype(np.float64)
        if self._model.task == "classes":
            return np.log(np.maximum(predictions, TINY))
        if self._model.task == "binary":
            return np.log(np.maximum(predictions, TINY)) - np.log(np.maximum(1 - predictions, TINY))
        return predictions

    def _from_logits(self, logits: np.ndarray) -> np.ndarray:
        if self._model.task == "classes":
            axis = self._model.class_axis
            raised = np.exp(logits - logits.max(axis, keepdims=True))
            return np.asarray(raised / raised.sum(axis, keepdims=True))
        return 1 / (1 + np.exp(-logits)) if self._model.task == "binary" else logits
