"""What a framework's adapter can do more, so that models can be used together: predict, and learn
from predictions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fusion_nb.core.types import Metrics, Weights


class Predicting(ABC):
    """A model whose predictions are arrays of one meaning, whatever its last layer and its loss.

    For classes they are probabilities, for yes or no the probability of yes, and else the numbers
    themselves. Their first axis is the rows.
    """

    #: The axis of predictions that has one entry for each class.
    class_axis: ClassVar[int] = 1

    @property
    @abstractmethod
    def task(self) -> str:
        """classes, binary, numbers, or own (a loss whose outputs only the user understands)."""

    @abstractmethod
    def predict(self, data: Any) -> np.ndarray:
        """Return the predictions for all rows in order; `data` is as in `evaluate`."""

    @abstractmethod
    def judge(self, predictions: np.ndarray, data: Any) -> Metrics:
        """Return the metrics of predictions for these rows, as `evaluate` would for a model that
        makes them.
        """

    @abstractmethod
    def imitate(
        self,
        rows: np.ndarray,
        predictions: np.ndarray,
        *,
        epochs: int,
        batch_size: int,
        lr: float,
        seed: int,
    ) -> None:
        """Train, with Adam, on rows without labels until it predicts what it is shown."""

    @abstractmethod
    def together(self, members: Sequence[Weights], shares: np.ndarray, rule: str) -> Any:
        """Return the framework's own model that predicts what members do together.

        shares: how much each member counts (members,), or counts for each class (classes, members)
        rule:   "mean" of the predictions, or "vote" for the most probable class
        Its outputs mean what those of a single model do: logits stay such that softmax gives the
        probabilities.
        """

    @abstractmethod
    def write(self, native: Any, path: Path, format: str) -> None:
        """Write a model that `together` returned in one of the formats."""
