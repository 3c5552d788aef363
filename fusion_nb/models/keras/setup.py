"""The conclusions about a Keras model and its rows that `check` draws before training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.models.keras.inputs import Inputs
from fusion_nb.models.keras.losses import Objective


@dataclass(frozen=True)
class Setup:
    """How one model is trained and evaluated; its clones share it.

    objective: its loss;  inputs: how it takes its rows
    output_shape: (rows, ...) of its output;  row_shape: of a row as the model takes it
    label_scale: numbers of labels are divided by it
    """

    objective: Objective
    inputs: Inputs
    output_shape: tuple[int, ...]
    row_shape: tuple[int, ...]
    label_scale: float = 1.0

    @property
    def task(self) -> str:
        """The task that the model learns: classes, binary, numbers or own."""
        return "classes" if self.objective.task == "one_hot" else self.objective.task

    def batches(
        self, data: Any, batches: list[np.ndarray], seed: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (x, y) for each array of row indices, as the model and its loss take them."""
        for x, y in self.inputs.batches(data, batches, seed):
            yield x, self.target(y)

    def target(self, y: np.ndarray) -> np.ndarray:
        """Return labels as the loss takes them."""
        scaled = y if self.label_scale == 1 else y.astype(np.float32) / self.label_scale
        return self.objective.target(scaled, self.output_shape)

    def per_row(self, loss: Any, num_rows: int) -> float:
        """Return a batch's loss as the mean over its rows, also where it was summed."""
        return float(loss) / num_rows if self.objective.is_sum else float(loss)
