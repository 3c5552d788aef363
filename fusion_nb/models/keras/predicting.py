"""Keras models used together: their predictions, and the model that joins several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core.types import Metrics, Weights
from fusion_nb.errors import ModelError
from fusion_nb.models.keras import copies, ensemble, optimizers, randomness
from fusion_nb.models.keras.probe import first_line
from fusion_nb.models.keras.setup import Setup
from fusion_nb.models.keras.variables import NamedVariables

_BATCH = 128


class Predictor:
    """A model's predictions.

    gate: called between two batches
    """

    def __init__(self, model: keras.Model, setup: Setup, gate: Callable[[], None]) -> None:
        self._model = model
        self._setup = setup
        self._gate = gate

    def predict(self, data: Any) -> np.ndarray:
        """Return the predictions for all rows in order.

        data: as in `evaluate`, or inputs alone, as an array
        """
        rows = (data, np.zeros(len(data))) if isinstance(data, np.ndarray) else data
        chunks = rows_of.chunks(np.arange(rows_of.size(rows)), _BATCH)
        found = []
        for x, _, _ in self._setup.inputs.batches(rows, chunks):
            self._gate()
            output = np.asarray(self._model.predict_on_batch(x))
            output = output if output.dtype == np.float64 else output.astype(np.float32)
            predicted = ensemble.predictions(output, self._setup.task, self._setup.objective.logits)
            found.append(_array(predicted))
        return np.concatenate(found)

    def evaluate(self, predictions: np.ndarray, data: Any) -> Metrics:
        """Return the metrics of predictions for these rows.

        Terms that a model adds to its loss by itself are left out.
        """
        setup, count = self._setup, rows_of.size(data)
        objective, measures = setup.objective, setup.objective.measures()
        chunks = rows_of.chunks(np.arange(count), _BATCH)
        total = 0.0
        for (x, y, _), chunk in zip(setup.batches(data, chunks), chunks, strict=True):
            predicted = keras.ops.convert_to_tensor(predictions[chunk])
            output = ensemble.outputs(predicted, setup.task, objective.logits)
            target = keras.ops.convert_to_tensor(y)
            loss = np.mean(_array(objective.loss(target, output)))
            total += setup.per_row(loss, len(x)) * len(x)
            for measure in measures:
                measure.update_state(target, output)
        found = {measure.name: float(_array(measure.result())) for measure in measures}
        return {
            name: total / count if name == "loss" else found[name] for name in objective.metrics
        }


class Pupil:
    """A copy of a model that learns from predictions.

    It is a copy, so that the optimizer and the loss of the model stay as they are.
    """

    def __init__(self, model: keras.Model, setup: Setup, lr: float) -> None:
        self._setup = setup
        self._model = copies.copy_of(model)
        self._model.compile(
            keras.optimizers.Adam(lr),
            _distance(setup.task, setup.objective.logits),
            jit_compile=False,
        )
        self._model.optimizer.build(self._model.trainable_variables)
        self._fresh = optimizers.state(self._model.optimizer.variables)

    def learn(
        self,
        model: keras.Model,
        rows: np.ndarray,
        predictions: np.ndarray,
        gate: Callable[[], None],
        *,
        epochs: int,
        batch_size: int,
        seed: int,
    ) -> None:
        """Train a model, with Adam, on rows without labels towards the given predictions."""
        self._model.set_weights(model.get_weights())
        optimizers.restore(self._model.optimizer.variables, self._fresh)
        randomness.seed_generators(self._model, seed)
        shuffler = np.random.default_rng(seed)
        with randomness.own_randomness(seed):
            for _ in range(epochs):
                batches = rows_of.chunks(shuffler.permutation(len(rows)), batch_size)
                for x, shown, _ in self._setup.inputs.batches((rows, predictions), batches):
                    gate()
                    self._model.train_on_batch(x, shown)
        model.set_weights(self._model.get_weights())


def join(
    model: keras.Model,
    names: list[str],
    setup: Setup,
    members: Sequence[Weights],
    shares: np.ndarray,
    rule: str,
) -> keras.Model:
    """Return a functional model that predicts what members do together.

    model, names: of one member, with the names of its weights;  shares, rule: see
    `Ensembling.joined`
    Raises ModelError for a subclass that can't be part of a functional model.
    """
    dtype = model.inputs[0].dtype if getattr(model, "inputs", None) else "float32"
    x = keras.Input(setup.inputs.shape or setup.row_shape, dtype=dtype)
    try:
        found = [_member(model, names, i, weights)(x) for i, weights in enumerate(members)]
        joined = ensemble.joined(found, shares, rule, setup.task, setup.objective.logits)
    except Exception as error:
        raise ModelError(
            f"Keras can't join several {type(model).__name__}: {first_line(error)}",
            "write call() with operations that Keras can trace, such as keras.ops",
        ) from error
    return keras.Model(x, joined, name="ensemble")


def _member(model: keras.Model, names: list[str], number: int, weights: Weights) -> keras.Model:
    """Return a copy of a model with these weights, under its own name."""
    member = copies.copy_of(model)
    NamedVariables(member, names).write(weights)
    copies.finish(member)
    member.name = f"members_{number}"
    return member


def _distance(task: str, logits: bool) -> keras.losses.Loss:
    """Return the cross-entropy between given predictions and those of outputs.

    For numbers it is the mean squared error.
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
