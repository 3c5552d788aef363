"""The conclusions about a Keras model and its rows that `check` draws before training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fusion_nb.core.schema import LabelSchema
from fusion_nb.errors import ModelError, OptionError, option
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
    class_weights: (classes,) in training, or None
    """

    objective: Objective | Several
    inputs: Inputs
    labels: LabelSchema
    output_shape: Any
    row_shape: Any
    run_eagerly: bool = False
    class_weights: np.ndarray | None = None

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

    def training_batches(
        self, data: Any, batches: list[np.ndarray], seed: int
    ) -> Iterator[tuple[Any, Any, Any]]:
        """Yield (x, y, weights) as `batches`, each row weighed by its class, too."""
        if self.class_weights is None:
            yield from self.batches(data, batches, seed)
            return
        for x, y, weights in self.inputs.batches(data, batches, seed):
            numbers = self.labels.numbered(np.asarray(y)) / self.labels.scale
            of_class = self.class_weights[numbers.astype(np.int64)].astype(np.float32)
            if weights is not None:
                given = np.asarray(weights, np.float32)
                of_class = of_class * given.reshape(
                    given.shape + (1,) * (of_class.ndim - given.ndim)
                )
            yield x, self.target(y), of_class

    def with_class_weights(self, weights: np.ndarray) -> Setup:
        """Return this setup with weights of classes in training.

        Raises OptionError for a loss that can't have them.
        """
        objective, given = self.objective, option("class_weights")
        if isinstance(objective, Several) or not objective.is_keras or weights.ndim > 1:
            why = "it has several outputs" if isinstance(objective, Several) else "it is your own"
            why = "a row's labels are several yes or no" if weights.ndim > 1 else why
            raise OptionError(
                f"{given}: the loss {objective.name} can't weigh rows by their class: {why}",
                "leave it out, or weigh inside a loss of your own",
            )
        if objective.task not in ("classes", "one_hot", "binary") or objective.graded:
            raise OptionError(
                f"{given}: the loss {objective.name} can't weigh rows by their class: labels are "
                "not classes",
                "leave it out",
            )
        return replace(self, class_weights=weights)

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
