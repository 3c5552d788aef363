"""FedDF: one model learns the predictions of the parties' models on rows without labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fusion_nb.algorithms.ensembles.model import PredictingModel
from fusion_nb.core import seeds
from fusion_nb.core.arithmetic import weighted_mean
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import FederationInfo, Update, Weights
from fusion_nb.models.combining import TINY


class FedDF(Fusion):
    """Average the parties' weights, then train the mean to predict the same as the parties do.

    It is trained on rows without labels.

    The parties' predictions are averaged as logits, which for probabilities is their geometric
    mean.

    model: the aggregator's, which predicts with any weights

    Source: Lin, Kong, Stich, Jaggi, "Ensemble Distillation for Robust Model Fusion in Federated
    Learning", NeurIPS 2020.
    """

    def __init__(
        self,
        model: PredictingModel,
        rows: np.ndarray,
        *,
        epochs: int,
        lr: float,
        batch_size: int,
    ) -> None:
        self._model, self._rows = model, rows
        self._options: dict[str, Any] = {"epochs": epochs, "lr": lr, "batch_size": batch_size}

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the number of rounds so far."""
        return {"rounds": 0}

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the mean, trained towards the mean of the parties' predictions."""
        total: Any = 0.0
        count = 0
        unlabelled = (self._rows, np.zeros(len(self._rows), np.int64))

        def predicted() -> Iterator[Update]:
            nonlocal total, count
            for update in updates:
                self._model.set_weights(update.weights)
                total = total + self._to_logits(self._model.predict(unlabelled))
                count += 1
                yield update

        mean = weighted_mean(predicted(), lambda update: update.num_examples)
        targets = self._from_logits(np.asarray(total) / count)
        self._model.set_weights(mean)
        seed = seeds.number(0, "distill", state["rounds"])
        self._model.ensembling.distill(self._rows, targets, seed=seed, **self._options)
        return self._model.get_weights(), {"rounds": state["rounds"] + 1}

    def _to_logits(self, predictions: np.ndarray) -> np.ndarray:
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
