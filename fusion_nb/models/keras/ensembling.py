"""Keras models in ensembles: the model that joins several, and training on predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fusion_nb.core.types import Metrics, Weights
from fusion_nb.errors import ModelError
from fusion_nb.models.keras import files, optimizers
from fusion_nb.models.keras.predicting import Predictor, Pupil, join
from fusion_nb.models.keras.setup import Setup
from fusion_nb.models.keras.training import Trainer
from fusion_nb.models.predicting import Ensembling


class KerasEnsembling(Ensembling):
    """The part of a `KerasModel` that joins several, and trains it on predictions.

    names:  of the model's weights;  trainer: of the model, with its optimizer
    pupils: copies of the model that learn from predictions, by their learning rate, which are kept
            for the next round
    """

    def __init__(
        self,
        model: keras.Model,
        names: list[str],
        trainer: Trainer,
        setup: Setup,
        gate: Callable[[], None],
        pupils: dict[float, Pupil],
    ) -> None:
        self._model, self._names, self._trainer = model, names, trainer
        self._setup, self._gate, self._pupils = setup, gate, pupils

    def fault(self, method: str) -> str:
        """Return why models of several inputs are not joined, or ""."""
        try:
            self._setup.check_one_input()
        except ModelError as error:
            return error.message
        return ""

    def evaluate(self, predictions: np.ndarray, data: Any) -> Metrics:
        """Return the metrics of predictions for these rows."""
        return Predictor(self._model, self._setup, self._gate).evaluate(predictions, data)

    def distill(
        self,
        rows: np.ndarray,
        predictions: np.ndarray,
        *,
        epochs: int,
        batch_size: int,
        lr: float,
        seed: int,
    ) -> None:
        """Train, with Adam, on rows without labels towards the given predictions."""
        if lr not in self._pupils:
            self._pupils[lr] = Pupil(self._model, self._setup, lr)
        self._pupils[lr].learn(
            self._model,
            rows,
            predictions,
            self._gate,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
        )

    def joined(self, members: Sequence[Weights], shares: np.ndarray, rule: str) -> keras.Model:
        """Return a functional model of the members.

        It is compiled with the loss of one of them where files can hold that loss.
        Raises ModelError for a subclass that can't be part of a functional model.
        """
        trainer, objective = self._trainer, self._setup.objective
        joint = join(self._model, self._names, self._setup, members, shares, rule)
        if objective.is_keras:
            joint.compile(
                optimizer=optimizers.make(trainer.optimizer, trainer.lr),
                loss=objective.loss,
                metrics=objective.measures(),
                jit_compile=False,
            )
        return joint

    def write(self, native: keras.Model, path: Path, format: str) -> None:
        """Write an ensemble in one of the formats of a single model."""
        files.save(native, path, format)
