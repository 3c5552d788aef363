"""The parties' estimators in ensembles: one voting estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.preprocessing import LabelEncoder

from fusion_nb.core.types import Metrics, Weights
from fusion_nb.errors import ModelError
from fusion_nb.models.predicting import Ensembling
from fusion_nb.models.sklearn import files, scores
from fusion_nb.models.sklearn.agreed_estimator import AgreedEstimator
from fusion_nb.models.tabular import Tabular, Task


class SklearnEnsembling(Ensembling):
    """The part of a `SklearnModel` that joins several."""

    def __init__(self, estimator: AgreedEstimator, task: Task, data: Tabular) -> None:
        self._estimator, self._task, self._data = estimator, task, data

    def fault(self, method: str) -> str:
        """Return why scikit-learn has no such ensemble, or ""."""
        if method == "stack":
            return "scikit-learn has no voting model with a share for each class"
        if method == "distill":
            kind = self._estimator.learner.name
            return f"a {kind} learns from labels, and not from the predictions of others"
        return ""

    def evaluate(self, predictions: np.ndarray, data: Any) -> Metrics:
        """Return the metrics of predictions for these rows."""
        _, y = self._data.arrays(data)
        return scores.of_predictions(self._estimator.learner.estimator, predictions, y, self._task)

    def joined(self, members: Sequence[Weights], shares: np.ndarray, rule: str) -> Any:
        """Return a voting model of scikit-learn that holds the members' models."""
        names = self._task.names
        task = replace(self._task, classes=np.arange(len(names)))
        made = [self._estimator.native(member, task) for member in members]
        return voting(made, names, shares, rule)

    def write(self, native: Any, path: Path, format: str) -> None:
        """Write a model that `joined` returned."""
        files.save(native, path, format)


def voting(members: Sequence[Any], names: np.ndarray, shares: np.ndarray, rule: str) -> Any:
    """Return a fitted VotingClassifier or VotingRegressor.

    members: fitted, with the classes 0, 1, ...;  names: of the classes, empty for numbers

    Raises ModelError where scikit-learn has no such model.
    """
    if shares.ndim > 1:
        raise ModelError(
            "scikit-learn has no voting model with a share for each class",
            "use the ensemble mean or vote",
        )
    pairs = [(f"party_{i + 1}", member) for i, member in enumerate(members)]
    first = members[0]
    made: Any
    if is_classifier(first):
        is_soft = rule == "mean" and all(hasattr(member, "predict_proba") for member in members)
        made = VotingClassifier(pairs, voting="soft" if is_soft else "hard", weights=shares)
        made.le_ = LabelEncoder().fit(names)
        made.classes_ = made.le_.classes_
    else:
        made = VotingRegressor(pairs, weights=shares)
    made.estimators_ = list(members)
    made.named_estimators_ = dict(pairs)
    return made
