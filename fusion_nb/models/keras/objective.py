"""A loss with the form of target that it takes, and the metrics that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from fusion_nb.models.identity.configurations import of_configured
from fusion_nb.models.identity.texts import KIND, of_choice

Task = Literal["classes", "one_hot", "binary", "numbers", "own"]


@dataclass(frozen=True)
class Objective:
    """A loss, and the form of target that it takes.

    task:     the kind of its targets; "one_hot" is classes written as rows of 0 and 1, "own" is
              known to the user's callable alone
    logits:   outputs are logits, not probabilities
    why:      how it was chosen;  warning: a doubt that the user should look at, or ""
    is_keras: the loss is one of Keras's own, so that a saved model can hold it
    is_sum:   it sums over a batch, where others average
    columns:  columns of the rows of 0 and 1 that it takes class numbers as, or 0
    graded:   targets are shares or fractions, of which accuracy says little
    """

    name: str
    loss: Any
    task: Task
    logits: bool = False
    why: str = ""
    warning: str = ""
    is_keras: bool = True
    is_sum: bool = False
    columns: int = 0
    graded: bool = False

    @property
    def loss_weights(self) -> Any:
        """The weights of several losses: None, since this is one."""
        return None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that go with the task, the monitored one first."""
        if self.columns:
            return ("accuracy", "loss")
        if self.graded:
            return ("loss", "accuracy") if self.task == "one_hot" else ("loss", "mae")
        if self.task == "numbers":
            return ("loss", "mae") if self.name == "mean_squared_error" else ("loss", "mse", "mae")
        return ("loss",) if self.task == "own" else ("accuracy", "loss")

    def identity(self) -> dict[str, str]:
        """Return the loss's name and configuration as text, for a run that is resumed."""
        if isinstance(self.loss, keras.losses.Loss):
            return {**of_configured(self.loss), KIND: self.name}
        return of_choice(self.loss) | ({KIND: self.name} if self.is_keras else {})

    def measures(self) -> list[keras.metrics.Metric]:
        """Return new metric objects for `compile`; the loss is measured by itself."""
        kinds = {"mse": keras.metrics.MeanSquaredError, "mae": keras.metrics.MeanAbsoluteError}
        if "accuracy" not in self.metrics:
            return [kinds[name](name=name) for name in self.metrics if name in kinds]
        if self.task == "classes":
            return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
        if self.task == "binary" and not self.columns:
            # Keras wants a threshold above 0; this is as good as 0, where a logit says yes.
            return [
                keras.metrics.BinaryAccuracy(
                    name="accuracy", threshold=1e-7 if self.logits else 0.5
                )
            ]
        return [keras.metrics.CategoricalAccuracy(name="accuracy")]

    def measured(self, names: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the metrics, the monitored one first; `names` are those that Keras returns."""
        return tuple(name for name in self.metrics if name in names)

    def target(self, y: np.ndarray, output: tuple[int, ...]) -> np.ndarray:
        """Return labels in the type and shape that the loss takes.

        y: in the agreed form;  output: the shape (rows, ...) of the model's output
        """
        if self.task == "classes":
            return y.reshape(len(y), *output[1:-1]).astype(np.int64)
        if self.columns:
            return np.eye(self.columns, dtype=np.float32)[y.astype(np.int64)]
        if self.task == "one_hot":
            if y.shape[1:] == output[1:]:
                return y.astype(np.float32)
            return np.eye(output[-1], dtype=np.float32)[
                y.reshape(len(y), *output[1:-1]).astype(np.int64)
            ]
        if self.task == "own":
            return y
        return y.astype(np.float32).reshape(len(y), *output[1:])
