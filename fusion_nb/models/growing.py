"""The contract of a grower: how one framework grows boosted trees, as a booster's own bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.models.tabular import Task


class Grower(ABC):
    """Grows, reads and writes the boosters of one framework: bytes in, bytes out."""

    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """Return the user's parameters, without those that a run decides."""

    @abstractmethod
    def start_of(self, task: Task) -> bytes:
        """Return the booster of the user's fit, or nothing where there is none.

        Raises ModelError for a fit to other features or classes.
        """

    @abstractmethod
    def empty(self, task: Task, mean: float) -> bytes:
        """Return a booster without trees, or with constant ones, that predicts the mean label.

        mean: of the labels; the share of the second class where there are two; NaN for more
        """

    @abstractmethod
    def grown(
        self, raw: bytes, x: np.ndarray, y: np.ndarray, task: Task, lr: float | None, seed: int
    ) -> bytes:
        """Return the booster with one more iteration; `y` are numbers of classes from 0."""

    @abstractmethod
    def scores(self, raw: bytes, x: np.ndarray) -> np.ndarray:
        """Return probabilities (rows, classes), or numbers."""

    @abstractmethod
    def native(self, raw: bytes, names: np.ndarray | None) -> Any:
        """Return a fitted model of the user's class with the booster's trees.

        raw:   b"" for one without a fit
        names: of the classes; None for those that the booster tells
        """

    @abstractmethod
    def write(self, path: Path, raw: bytes, format: str) -> None:
        """Write the booster in one of the adapter's `formats`."""


#: Parameters of estimators that a run decides, or that say how trees are grown and not which.
_NOT_OF_TREES = frozenset(
    {
        "callbacks",
        "eval_metric",
        "importance_type",
        "n_estimators",
        "n_jobs",
        "nthread",
        "random_state",
        "seed",
        "validate_parameters",
        "verbosity",
    }
)


def parameters_of(estimator: Any) -> dict[str, Any]:
    """Return an estimator's parameters without those that a run decides."""
    found = estimator.get_params()
    return {name: value for name, value in found.items() if name not in _NOT_OF_TREES}


def unfitted(estimator: Any) -> Any:
    """Return an estimator of the same class and parameters, without a fit."""
    return type(estimator)(**estimator.get_params())
