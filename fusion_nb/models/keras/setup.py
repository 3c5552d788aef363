"""The conclusions about a Keras model and its rows that `check` draws before training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.core.schema import LabelSchema
from fusion_nb.errors import ModelError
from fusion_nb.models.keras.inputs import Inputs
from fusion_nb.models.keras.objective import Objective
from fusion_nb.models.keras.several import Several


@dataclass(frozen=True)
class Setup:
    """How one model is trained and evaluated; its clones share it.

    objective: its loss;  inputs: how it takes its rows;  labels: in the agreed form
    output_shape: (rows, ...) of its output;  row_shape: of a row as the model takes it; of several,
                  a tree of such shapes
    run_eagerly: the user compiled it so, since its call() can't be traced
    """

    objective: Objective | Several
    inputs: Inputs
    labels: LabelSchema
    output_shape: Any
    row_shape: Any
    run_eagerly: bool = False

    @property
    def task(self) -> str:
        """The task that the model learns: classes, binary, numbers or own."""
        return "classes" if self.objective.task == "one_hot" else self.objective.task

    def check_one_input(self) -> None:
        """Raise ModelError where rows are several arrays: predictions are joined for one."""
        if not all(isinstance(size, int) for size in self.row_shape):
            raise ModelError(
                "the model takes several inputs, and an ensemble joins models of one",
                "join its inputs to one array, or leave the ensemble out",
            )

    def batches(
        self, data: Any, batches: list[np.ndarray], seed: int = 0
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Yield (x, y, weights) for each array of row indices, as the model and its loss take them.

        weights: of the rows, or None
        """
        for x, y, weights in self.inputs.batches(data, batches, seed):
            yield x, self.target(y), weights

    def target(self, y: Any) -> Any:
        """Return labels as the loss takes them."""
        if isinstance(self.objective, Several):
            return self.objective.target(y, self.output_shape)
        agreed = self.labels.numbered(y)
        scale = self.labels.scale
        scaled = agreed if scale == 1 else agreed.astype(np.float32) / np.float32(scale)
        return self.objective.target(scaled, self.output_shape)

    def per_row(self, loss: Any, num_rows: int) -> float:
        """Return a batch's loss as the mean over its rows, also where it was summed."""
        return float(loss) / num_rows if self.objective.is_sum else float(loss)
