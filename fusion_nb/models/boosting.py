"""A base of adapters for boosted trees, whose weights are the booster's own text."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import Metrics, TrainingResult, Update, Weights
from fusion_nb.models import trees
from fusion_nb.models.base import Model, NeedsAgreement
from fusion_nb.models.combining import LEAST
from fusion_nb.models.growing import Grower
from fusion_nb.models.identity.texts import KIND, Identity, of_settings
from fusion_nb.models.predicting import PredictsRows
from fusion_nb.models.tabular import Tabular, Task, task_of


class BoostingModel(NeedsAgreement, Model, PredictsRows):
    """Trains boosted trees: an epoch adds one tree, or one for each class, to the ensemble.

    Parties agree before round 1 on the mean of all labels, from which the ensemble starts.

    kind:   the name of the user's class;  grower: grows and reads boosters of its framework
    """

    weights_kind = "trees"
    skips_numbers = True
    takes_missing = True
    no_ensembling = "is an ensemble itself, and parties add to it"
    supported_options = frozenset()
    defaults: Mapping[str, Any] = {"fusion": "bagging", "optimizer": ""}

    def __init__(self, kind: str, grower: Grower, *, wants_classes: bool) -> None:
        self.kind = kind
        self._grower = grower
        self._wants_classes = wants_classes
        self._task: Task | None = None
        self._data = Tabular()
        self._start: bytes = b""
        self._weights: Weights = {}

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
        self._start = self._grower.start_of(self._task)
        each = "a tree" if len(self._task.classes) < 3 else "a tree for each class"
        notes = [
            f"loss: {'log loss' if self._wants_classes else 'mean squared error'}",
            f"training: an epoch of a party adds {each}; n_estimators is not used",
            *self._data.notes,
        ]
        if schema.rows.has_missing:
            notes.append(f"rows: numbers are missing, and the {self.kind} takes NaN as it is")
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

    def identity(self, *, lr: float | None, optimizer: Any) -> Identity:
        """Return the parameters by which trees are grown, as text."""
        return {"model": {KIND: self.kind, **of_settings(self._grower.parameters())}}

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
        raw = self._start or self._grower.empty(self._known, mean)
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
        raw = _raw(self._weights)
        for number in range(epochs):
            self.gate()
            seed_of_tree = (seed + number) % 2**31
            raw = self._grower.grown(raw, x, labels, self._known, lr, seed_of_tree)
        self._weights = {trees.ENTRY: np.frombuffer(raw, np.uint8).copy()}
        metrics = self._measured(self._grower.scores(raw, x), y)
        return TrainingResult(self.get_weights(), metrics, epochs, float("nan"))

    def evaluate(self, data: Any) -> Metrics:
        """Return the metrics over the rows."""
        x, y = self._data.arrays(data)
        return self._measured(self._grower.scores(_raw(self._weights), x), y)

    # Predictions

    @property
    def task(self) -> str:
        """Classes or numbers."""
        return "classes" if self._wants_classes else "numbers"

    def predict(self, data: Any) -> np.ndarray:
        """Return probabilities (rows, classes), or numbers, for all rows in order."""
        x, _ = self._data.arrays(data)
        return self._grower.scores(_raw(self._weights), x)

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

    # Results for the user

    def native(self, weights: Weights) -> Any:
        """Return a fitted model of the user's class with these trees."""
        names = None if self._task is None else self._task.names
        return self._grower.native(_raw(weights), names)

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the booster with these weights."""
        self._grower.write(path, _raw(weights), format)


def _raw(weights: Weights) -> bytes:
    """Return the booster's bytes; none before parties agreed on the mean of all labels."""
    return weights[trees.ENTRY].tobytes() if weights else b""
