"""Keras models used together: their predictions, and the model that joins several."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core.types import Metrics, Weights
from fusion_nb.errors import ModelError
from fusion_nb.models.keras import copies, ensemble, files, optimizers, randomness
from fusion_nb.models.keras.inputs import Inputs
from fusion_nb.models.keras.losses import Objective
from fusion_nb.models.keras.probe import first_line
from fusion_nb.models.predicting import Predicting

_BATCH = 128


class KerasPredicting(Predicting):
    """What a KerasModel predicts, and learns from predictions."""

    class_axis: ClassVar[int] = -1

    model: keras.Model
    gate: Callable[[], None]
    _inputs: Inputs
    _names: list[str]
    _optimizer: Any
    _taken: tuple[int, ...]
    #: A copy of the model that learns from predictions, the rate that it learns with, and its
    #: optimizer's first state.
    _pupil: tuple[Any, float, list[np.ndarray]] | None

    @abstractmethod
    def _ready(self) -> Objective: ...

    @abstractmethod
    def _per_row(self, loss: Any, x: np.ndarray) -> float: ...

    @abstractmethod
    def _batches(
        self, data: Any, batches: list[np.ndarray], seed: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]: ...

    @property
    def task(self) -> str:
        """What the model is to learn."""
        found = self._ready().task
        return "classes" if found == "one_hot" else found

    def predict(self, data: Any) -> np.ndarray:
        """Return the predictions for all rows in order.

        data: as in `evaluate`, or inputs alone, as an array
        """
        rows = (data, np.zeros(len(data))) if isinstance(data, np.ndarray) else data
        task, logits, found = self.task, self._ready().logits, []
        for x, _ in self._inputs.batches(
            rows, rows_of.chunks(np.arange(rows_of.size(rows)), _BATCH)
        ):
            self.gate()
            output = np.asarray(self.model.predict_on_batch(x))
            output = output if output.dtype == np.float64 else output.astype(np.float32)
            found.append(_array(ensemble.predictions(output, task, logits)))
        return np.concatenate(found)

    def judge(self, predictions: np.ndarray, data: Any) -> Metrics:
        """Return the metrics of predictions for these rows; what a model adds to its loss by itself
        is left out.
        """
        objective, count = self._ready(), rows_of.size(data)
        chunks, measures, total = (
            rows_of.chunks(np.arange(count), _BATCH),
            objective.measures(),
            0.0,
        )
        for (x, y), chunk in zip(self._batches(data, chunks), chunks, strict=True):
            output = ensemble.outputs(
                keras.ops.convert_to_tensor(predictions[chunk]), self.task, objective.logits
            )
            y = keras.ops.convert_to_tensor(y)
            total += self._per_row(np.mean(_array(objective.loss(y, output))), x) * len(x)
            for measure in measures:
                measure.update_state(y, output)
        found = {measure.name: float(_array(measure.result())) for measure in measures}
        return {
            name: total / count if name == "loss" else found[name] for name in objective.metrics
        }

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
        """Train, with Adam, on rows without labels until it predicts what it is shown.

        A copy is trained, so that the optimizer and the loss of the model stay as they are.
        """
        if self._pupil is None or self._pupil[1] != lr:
            copied = copies.copy_of(self.model)
            copied.compile(
                keras.optimizers.Adam(lr),
                _distance(self.task, self._ready().logits),
                jit_compile=False,
            )
            copied.optimizer.build(copied.trainable_variables)
            self._pupil = copied, lr, optimizers.state(copied.optimizer.variables)
        pupil, _, fresh = self._pupil
        pupil.set_weights(self.model.get_weights())
        optimizers.restore(pupil.optimizer.variables, fresh)
        randomness.seed_generators(pupil, seed)
        shuffler = np.random.default_rng(seed)
        with randomness.own_randomness(seed):
            for _ in range(epochs):
                batches = rows_of.chunks(shuffler.permutation(len(rows)), batch_size)
                for x, shown in self._inputs.batches((rows, predictions), batches):
                    self.gate()
                    pupil.train_on_batch(x, shown)
        self.model.set_weights(pupil.get_weights())

    def together(self, members: Sequence[Weights], shares: np.ndarray, rule: str) -> keras.Model:
        """Return a functional model of the members, compiled with the loss of one of them where
        files can hold it.

        Raises ModelError for a subclass that can't be part of a functional model.
        """
        objective = self._ready()
        dtype = self.model.inputs[0].dtype if getattr(self.model, "inputs", None) else "float32"
        x = keras.Input(self._inputs.shape or self._taken, dtype=dtype)
        try:
            found = [self._member(i, weights)(x) for i, weights in enumerate(members)]
            joined = ensemble.joined(found, shares, rule, self.task, objective.logits)
        except Exception as error:
            line = f"Keras can't join several {type(self.model).__name__}: {first_line(error)}"
            raise ModelError(
                line, "write call() with operations that Keras can trace, such as keras.ops"
            ) from error
        joint = keras.Model(x, joined, name="ensemble")
        if objective.is_keras:
            made = optimizers.make(*self._optimizer)
            joint.compile(
                optimizer=made, loss=objective.loss, metrics=objective.measures(), jit_compile=False
            )
        return joint

    def write(self, native: keras.Model, path: Path, format: str) -> None:
        """Write an ensemble in one of the formats of a single model."""
        files.save(native, path, format)

    def _member(self, number: int, weights: Weights) -> keras.Model:
        """Return a copy of the model with these weights, under a name of its own."""
        member = copies.copy_of(self.model)
        for name, variable in zip(self._names, member.weights, strict=True):
            variable.assign(weights[name])
        copies.finish(member)
        member.name = f"members_{number}"
        return member


def _distance(task: str, logits: bool) -> keras.losses.Loss:
    """Return the cross-entropy between what is shown and what outputs predict; of numbers, the mean
    squared error.
    """
    if task == "classes":
        return keras.losses.CategoricalCrossentropy(from_logits=logits)
    return (
        keras.losses.BinaryCrossentropy(from_logits=logits)
        if task == "binary"
        else keras.losses.MeanSquaredError()
    )


def _array(tensor: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))
