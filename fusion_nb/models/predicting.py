"""Models that predict rows, and the part of one that joins predictions and learns from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core.types import Metrics, Weights
from fusion_nb.errors import ModelError


class PredictsRows(ABC):
    """A model whose predictions have the same meaning whatever its last layer and its loss.

    For classes they are probabilities, for yes or no the probability of yes, and otherwise the
    numbers themselves. Their first axis is the rows. Metrics of `--metrics` are measured on them.
    """

    #: The axis of predictions that has one entry for each class.
    class_axis: int = 1
    #: Whether it has an output for each class that some label has, and none for a number between.
    skips_numbers: bool = False
    #: Why its predictions can't be joined, where it has no `ensembling`, after "a KMeans ".
    no_ensembling: str = "has no way to join several of its kind"

    @property
    @abstractmethod
    def task(self) -> str:
        """The task: classes, binary, numbers, or own (only the user's loss understands outputs)."""

    @abstractmethod
    def predict(self, data: Any) -> np.ndarray:
        """Return the predictions for all rows in order; `data` is as in `evaluate`."""

    @property
    def ensembling(self) -> Ensembling | None:
        """The part that `--ensemble` needs, known after `check`; None where there is none."""
        return None


class Ensembling(ABC):
    """A part of a model that joins several of its kind, and trains it on predictions.

    It works on the model's present weights.
    """

    def fault(self, method: str) -> str:
        """Return why an ensemble method makes no sense for the model, or ""; see `--ensemble`."""
        return ""

    @abstractmethod
    def evaluate(self, predictions: np.ndarray, data: Any) -> Metrics:
        """Return the metrics that the model's `evaluate` gives for these predictions."""

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
        """Train, with Adam, on rows without labels towards the given predictions.

        Raises ModelError for a kind of model that learns from labels alone.
        """
        raise ModelError(
            "this model learns from labels, and not from the predictions of others",
            "use the ensemble mean or vote, or a PyTorch or a Keras model",
        )

    @abstractmethod
    def joined(self, members: Sequence[Weights], shares: np.ndarray, rule: str) -> Any:
        """Return the framework's own model that makes the joint predictions of several members.

        shares: the weight of each member (members,), or of each for each class (classes, members)
        rule:   "mean" of the predictions, or "vote" for the most probable class
        Its outputs have the same meaning as those of a single model: the softmax of logits is the
        probabilities.
        """

    @abstractmethod
    def write(self, native: Any, path: Path, format: str) -> None:
        """Write a model that `joined` returned in one of the formats."""
