"""A base of adapters for boosted trees, whose weights are the booster's own text."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import Metrics, TrainingResult, Update, Weights
from fusion_nb.errors import ModelError, option
from fusion_nb.models import trees
from fusion_nb.models.base import Model, NeedsAgreement
from fusion_nb.models.combining import LEAST
from fusion_nb.models.predicting import Predicting
from fusion_nb.models.tabular import Tabular, Task, task_of


def unfitted(estimator: Any) -> Any:
    """Return an estimator of the same class and parameters, without a fit."""
    return type(estimator)(**estimator.get_params())


class BoostingModel(NeedsAgreement, Model, Predicting):
    """Trains boosted trees: an epoch adds one tree, or one for each class, to the ensemble.

    Parties agree before round 1 on the mean of all labels, from which the ensemble starts. A
    subclass grows and reads the booster of one framework.
    """

    weights_kind = "trees"
    skips_numbers = True
    supported_options = frozenset()
    defaults: Mapping[str, Any] = {"fusion": "bagging", "optimizer": ""}

    def __init__(self, model: Any, *, wants_classes: bool) -> None:
        self._model = model
        self._wants_classes = wants_classes
        self._task: Task | None = None
        self._data = Tabular()
        self._start: bytes = b""
        self._weights: Weights = {}

    # What a framework does

    @abstractmethod
    def empty(self, task: Task, mean: float) -> bytes:
        """Return a booster without trees, or with constant ones, that predicts the mean label.

        mean: of the labels; the share of the second class where there are two; NaN for more
        """

    @abstractmethod
    def grown(
        self, raw: bytes, x: np.ndarray, y: np.ndarray, *, epochs: int, lr: float | None, seed: int
    ) -> bytes:
        """Return the booster with that many more iterations; `y` are numbers of classes from 0."""

    @abstractmethod
    def scores(self, raw: bytes, x: np.ndarray) -> np.ndarray:
        """Return probabilities (rows, classes), or numbers."""

    @abstractmethod
    def start_of(self, task: Task) -> bytes:
        """Return the booster of the user's fit, or nothing where there is none.

        Raises ModelError for a fit to other features or classes.
        """

    # The contract of a model

    @property
    def _known(self) -> Task:
        assert self._task is not None, "check comes first"
        return self._task

    def clone(self) -> BoostingModel:
        """Return an independent copy."""
        other = copy.copy(self)
        other._weights = dict(self._weights)
        return other

    def default_lr(self, optimizer: Any) -> None:
        """Return None: a booster has a learning rate of its own."""

    def check(
        self, rows: Any, schema: DataSchema, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Look at the agreed rows and labels, and return how trees are grown."""
        self._data = Tabular.of(rows, schema, self.kind)
        self._task = task_of(
            schema,
            self._data.num_features,
            self.kind,
            wants_classes=self._wants_classes,
            regressor=self.kind.replace("Classifier", "Regressor"),
        )
        self.metrics = ("accuracy", "loss") if self._wants_classes else ("loss", "mae")
        self._start = self.start_of(self._task)
        each = "a tree" if len(self._task.classes) < 3 else "a tree for each class"
        notes = [
            f"loss: {'log loss' if self._wants_classes else 'mean squared error'}",
            f"training: an epoch of a party adds {each}; n_estimators is not used",
            *self._data.notes,
        ]
        if lr is not None:
            notes.append(f"lr: {lr:g}, in place of the {self.kind}'s own")
        if self._start:
            notes.append(f"start: the trees of the {self.kind}'s own fit")
        numbers = self._task.classes
        if len(numbers) and not np.array_equal(numbers, np.arange(len(numbers))):
            notes.append(
                f"classes: the model numbers them from 0; {self._task.names[0]} is 0, "
                f"{self._task.names[-1]} is {len(numbers) - 1}"
            )
        return notes

    def collect(self, data: Any) -> dict[str, Any]:
        """Return the sum of a party's labels, and their number."""
        _, y = self._data.arrays(data)
        values = self._known.positions(y) if self._wants_classes else y
        return {"sum": float(np.sum(values, dtype=np.float64)), "count": len(y)}

    def agree(self, updates: Sequence[Update]) -> float:
        """Return the mean of all labels."""
        total = sum(update.extras["sum"] for update in updates)
        mean = float(total / sum(update.extras["count"] for update in updates))
        self._begin(mean)
        return mean

    def prepare(self, data: Any, state: dict[str, Any], agreed: float) -> None:
        """Begin with the agreed mean."""
        self._begin(agreed)

    def _begin(self, mean: float) -> None:
        raw = self._start or self.empty(self._known, mean)
        self._weights = {trees.ENTRY: np.frombuffer(raw, np.uint8).copy()}

    def get_weights(self) -> Weights:
        """Return the booster's bytes; nothing before parties agreed on the mean of all labels."""
        return {name: array.copy() for name, array in self._weights.items()}

    def set_weights(self, weights: Weights) -> None:
        """Take over a booster's bytes."""
        self._weights = {name: np.array(array) for name, array in weights.items()}

    def check_weights(self, found: Weights, expected: Weights, *, partial: bool = False) -> str:
        """Return why a booster can't be used, or ""; it may have more trees than was sent out."""
        return trees.misfit(found, expected, partial=partial)

    def trained_names(self) -> frozenset[str]:
        """Return nothing: no gradient trains bytes."""
        return frozenset()

    def fit(
        self,
        data: Any,
        *,
        epochs: int,
        lr: float | None,
        seed: int,
        batch_size: int = 32,
        optimizer: Any = "",
        state: dict[str, Any] | None = None,
        steps: int = 0,
        **client_options: Any,
    ) -> TrainingResult:
        """Add trees that are grown on a party's rows; `loss` is that over them afterwards.

        batch_size, optimizer, state, steps: have no meaning here
        """
        self.check_client_options(client_options)
        x, y = self._data.arrays(data)
        labels = self._known.positions(y) if self._wants_classes else y
        raw = self._weights[trees.ENTRY].tobytes()
        for number in range(epochs):
            self.gate()
            raw = self.grown(raw, x, labels, epochs=1, lr=lr, seed=(seed + number) % 2**31)
        self._weights = {trees.ENTRY: np.frombuffer(raw, np.uint8).copy()}
        metrics = self._measured(self.scores(raw, x), y)
        return TrainingResult(self.get_weights(), metrics, epochs, float("nan"))

    def evaluate(self, data: Any) -> Metrics:
        """Return the metrics over the rows."""
        return self.evaluate_predictions(self.predict(data), data)

    # Predictions

    @property
    def task(self) -> str:
        """Classes or numbers."""
        return "classes" if self._wants_classes else "numbers"

    def ensemble_fault(self, method: str) -> str:
        """Return that bagging is the ensemble of trees."""
        return f"a {self.kind} is an ensemble itself, and parties add to it"

    def predict(self, data: Any) -> np.ndarray:
        """Return probabilities (rows, classes), or numbers, for all rows in order."""
        x, _ = self._data.arrays(data)
        return self.scores(self._weights[trees.ENTRY].tobytes(), x)

    def evaluate_predictions(self, predictions: np.ndarray, data: Any) -> Metrics:
        """Return the metrics of predictions for these rows."""
        _, y = self._data.arrays(data)
        return self._measured(predictions, y)

    def _measured(self, found: np.ndarray, y: np.ndarray) -> Metrics:
        if not self._wants_classes:
            errors = np.asarray(found, np.float64) - y
            return {"loss": float((errors**2).mean()), "mae": float(np.abs(errors).mean())}
        labels = self._known.positions(y)
        own = np.asarray(found, np.float64)[np.arange(len(y)), labels]
        return {
            "accuracy": float((found.argmax(1) == labels).mean()),
            "loss": float(-np.log(np.maximum(own, LEAST)).mean()),
        }

    def as_ensemble(self, members: Sequence[Weights], shares: np.ndarray, rule: str) -> Any:
        """Raise ModelError: bagging is the ensemble of trees."""
        raise ModelError(
            f"a {self.kind} is an ensemble itself", f"use {option('fusion', 'bagging')}"
        )

    def write(self, native: Any, path: Path, format: str) -> None:
        """Raise ModelError, as `as_ensemble` does."""
        self.as_ensemble([], np.empty(0), "")

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the booster with these weights."""
        self.write_booster(path, weights, format)

    @abstractmethod
    def write_booster(self, path: Path, weights: Weights, format: str) -> None:
        """Write the booster in one of `formats`."""
