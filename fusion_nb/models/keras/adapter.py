"""Keras 3: any `keras.Model`, trained batch by batch through Keras's own `train_on_batch`, on any
backend.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core import seeds
from fusion_nb.core.types import Metrics, Weights
from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.base import Model
from fusion_nb.models.quiet import quiet

os.environ.setdefault(
    "TF_CPP_MIN_LOG_LEVEL", "2"
)  # what TensorFlow says about the machine is of no use here
logging.getLogger("tensorflow").setLevel(logging.ERROR)
with quiet():
    import keras

    from fusion_nb.models.keras import (
        copies,
        files,
        gradients,
        losses,
        optimizers,
        probe,
        randomness,
    )
    from fusion_nb.models.keras.inputs import Inputs
    from fusion_nb.models.keras.predicting import KerasPredicting

#: Rows that are tried before training.
_PROBE = 32
#: Rows in a batch of evaluation.
_EVALUATION_BATCH = 128


class KerasModel(KerasPredicting, Model):
    """Any `keras.Model` with one input and one output, compiled or not; subclasses must be built
    and copyable.

    loss: "" to take what the model was compiled with, or else to infer it from the model's output
          and the labels; or a name, a Loss, or a callable of (target, output)
    keep_optimizer: a party's optimizer goes on where its last round left it; else each round has a
    fresh one
    """

    kind = "Keras model"
    formats: ClassVar = files.FORMATS
    packages: ClassVar = (
        "keras",
        "tensorflow" if keras.backend.backend() == "tensorflow" else keras.backend.backend(),
    )
    supports: ClassVar = frozenset({"mu", "anchor", "shift"})
    choices: ClassVar = {"optimizer": optimizers.NAMES, "loss": losses.NAMES}

    def __init__(self, model: keras.Model, *, loss: Any = "", keep_optimizer: bool = False) -> None:
        if not model.built and not isinstance(model, keras.Sequential):
            raise ModelError(
                f"this {type(model).__name__} is not built yet, so it has no weights to share",
                "call it on a few rows first: model(x[:2])",
            )
        self.model = copies.copy_of(model)
        self._names = _names(model)
        # What the user compiled it with; the copy is compiled anew, and `native` as the user did.
        self._compiled = model.get_compile_config() if model.compiled else None
        # Looked up in the configuration: Keras leaves `model.loss` as it was when a model is
        # compiled without one.
        has_loss = self._compiled is not None and self._compiled.get("loss") is not None
        self._is_own_loss = not loss and has_loss
        self._loss = model.loss if self._is_own_loss else loss
        self._keep_optimizer = keep_optimizer
        if model.compiled and model.optimizer is not None:
            self.defaults = {**Model.defaults, "optimizer": model.optimizer}
        self._objective: losses.Objective | None = None
        self._optimizer: Any = ("sgd", None)
        self._inputs = Inputs.of(self.model)
        self._pupil = None

    def default_lr(self, optimizer: Any) -> float | None:
        """Return the learning rate that the optimizer brings."""
        return optimizers.own_lr(optimizer)

    def clone(self) -> KerasModel:
        """Return an independent copy, compiled like this one."""
        other: KerasModel = object.__new__(KerasModel)
        other.__dict__.update(self.__dict__)
        other.model, other._pupil = copies.copy_of(self.model), None
        if self._objective is not None:
            other._compile()
        return other

    @classmethod
    def load(cls, path: Path) -> keras.Model:
        """Return the model in a `.keras` file, read in Keras's safe mode. Raises ModelError."""
        return files.load(path)

    @classmethod
    @contextmanager
    def seeded(cls, seed: int) -> Iterator[None]:
        """Fix what Keras draws while a model is being built: from Python's numbers, which are given
        back afterwards.
        """
        with seeds.Shared(seed, alone=False):
            yield

    def check(
        self, rows: Any, labels: np.ndarray, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Build what is not built, try a few rows, infer the loss, and train a step that is then
        undone.

        Raises ModelError, DataError or OptionError where model, rows, labels, loss and optimizer
        don't go together.
        """
        few = rows_of.take(rows, np.arange(min(_PROBE, rows_of.size(rows))))
        self._optimizer = optimizer, lr
        optimizers.make(optimizer, lr)  # a typo is told before the rows are looked at
        if not self.model.built:
            self._build(few)
        if self._inputs.num_words and isinstance(rows, tuple):
            self._inputs.bring(rows[0])
        probe.check_form(self.model, self._names)
        x, y = next(self._batches(few, [np.arange(rows_of.size(few))]))
        output = probe.output_of(self.model, x)
        last = probe.last_activation(self.model)
        if self._is_own_loss:
            self._objective = losses.compiled(self._loss, output, labels, last)
        elif self._loss:
            self._objective = losses.named(self._loss, output, labels, last)
        else:
            self._objective = losses.infer(output, labels, last)
        self._row, self._taken = output.shape, x.shape[1:]
        self.metrics = self._objective.metrics
        self._compile()
        probe.try_training(
            self.model, self._objective.name, x, self._objective.target(y, output.shape)
        )
        notes = [f"loss: {self._objective.name} ({self._objective.why})"]
        if self._objective.warning:
            notes.append(self._objective.warning)
        if self._compiled is not None and optimizer is self.defaults["optimizer"]:
            rate = "its own schedule" if lr is None else f"lr {lr:g}"
            notes.append(
                f"optimizer: {type(optimizer).__name__.lower()}, {rate} (as the model was compiled)"
            )
        return notes + (self._inputs.notes(rows[0]) if isinstance(rows, tuple) else [])

    def get_weights(self) -> Weights:
        """Return a copy of every weight by its path without the model's name; bfloat16 travels as
        float32.

        BatchNormalization's statistics are among them, the states of seed generators and metrics
        are not.
        """
        found = {}
        for name, variable in self._variables():
            array = np.array(keras.ops.convert_to_numpy(variable))
            found[name] = (
                array.astype(np.float32)
                if array.dtype.kind == "V" or "bfloat16" in str(array.dtype)
                else array
            )
        return found

    def trained_names(self) -> frozenset[str]:
        """Return the names of the weights that are trainable."""
        return frozenset(self._trained())

    def norm_names(self) -> frozenset[str]:
        """Return the names of what batch normalization has: trained or frozen, and the
        statistics.
        """
        normalizing = [
            each
            for each in probe.layers_of(self.model)
            if isinstance(each, keras.layers.BatchNormalization)
        ]
        own = {id(variable) for layer in normalizing for variable in layer.weights}
        return frozenset(name for name, variable in self._variables() if id(variable) in own)

    def set_weights(self, weights: Weights) -> None:
        """Assign weights to the model's own variables."""
        for name, variable in self._variables():
            variable.assign(weights[name])

    def fit(
        self,
        data: Any,
        *,
        epochs: int,
        batch_size: int,
        lr: float | None,
        optimizer: Any,
        seed: int,
        state: dict[str, Any] | None = None,
        steps: int = 0,
        **local: Any,
    ) -> Metrics:
        """Train batch by batch. Raises Stopped through `gate`; stops at once when the loss is not
        finite.
        """
        if unknown := local.keys() - self.supports:
            raise OptionError(
                f"a Keras model can't honour {', '.join(sorted(unknown))}", "use another fusion"
            )
        self._ready()
        if (optimizer, lr) != self._optimizer:
            self._optimizer = optimizer, lr
            self._compile()
        kept = state if state is not None and self._keep_optimizer else {}
        optimizers.restore(self._optimizer_state, kept.get("optimizer", self._fresh))
        self._correction.prepare(**local)
        randomness.seed_generators(self.model, seed)
        shuffler, before = np.random.default_rng(seed), optimizers.num_steps(self.model.optimizer)
        taken, mean = 0, float("nan")
        with randomness.own_randomness(seed):
            while (taken < steps) if steps else (epochs > 0):
                batches = rows_of.chunks(shuffler.permutation(rows_of.size(data)), batch_size)
                batches = batches[: steps - taken] if steps else batches
                total = 0.0
                for x, y in self._batches(data, batches, seed + taken):
                    self.gate()
                    total += self._per_row(
                        self.model.train_on_batch(x, y, return_dict=True)["loss"], x
                    ) * len(x)
                taken, epochs = taken + len(batches), epochs - 1
                mean = total / sum(map(len, batches))
                if not np.isfinite(mean):
                    break
        if taken:
            self._correction.check()
        if self._keep_optimizer:  # a copy of all its arrays, which is not made for nothing
            kept["optimizer"] = optimizers.state(self._optimizer_state)
        # A train_step that leaves its optimizer alone is taken to do one step for each batch.
        counted = optimizers.num_steps(self.model.optimizer) - before or taken
        return {
            "loss": mean,
            "steps": counted,
            "travel": optimizers.travel(self.model.optimizer, counted),
        }

    def evaluate(self, data: Any) -> Metrics:
        """Return the objective's metrics, averaged over the rows."""
        objective, count = self._ready(), rows_of.size(data)
        totals = dict.fromkeys(objective.metrics, 0.0)
        for x, y in self._batches(data, rows_of.chunks(np.arange(count), _EVALUATION_BATCH)):
            self.gate()
            self.model.reset_metrics()
            measured = self.model.test_on_batch(x, y, return_dict=True)
            measured["loss"] = self._per_row(measured["loss"], x)
            for name in totals:
                totals[name] += float(measured[name]) * len(x)
        return {name: total / count for name, total in totals.items()}

    def native(self, weights: Weights) -> keras.Model:
        """Return a `keras.Model` with these weights, compiled as the user's was, or else with the
        inferred loss.
        """
        other = self.clone()
        other.set_weights(weights)
        copies.finish(other.model)
        if not self._is_own_loss and self._objective is not None and self._objective.is_keras:
            return other.model
        bare = copies.copy_of(other.model)
        if self._is_own_loss:
            with suppress(
                Exception
            ):  # a loss or metric of the user's own can't be made again, nor held by a file
                bare.compile_from_config(self._compiled)
        return bare

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights."""
        files.save(self.native(weights), path, format)

    def _ready(self) -> losses.Objective:
        if self._objective is None:
            raise ModelError(
                "the model was not checked against its data", "call check(rows, labels, ...) first"
            )
        return self._objective

    def _variables(self) -> Iterator[tuple[str, Any]]:
        # By position: a copy of a subclass may number its layers differently.
        return zip(self._names, self.model.weights, strict=True)

    def _trained(self) -> dict[str, Any]:
        trained = {id(variable) for variable in self.model.trainable_variables}
        return {name: variable for name, variable in self._variables() if id(variable) in trained}

    def _compile(self) -> None:
        """Compile the copy once; each round only puts its optimizer's state back, so nothing is
        traced anew.
        """
        objective = self._ready()
        made = optimizers.make(*self._optimizer)
        # Compiled kernels are made for each size of batch, and the last batch of each party has its
        # own.
        self.model.compile(
            optimizer=made, loss=objective.loss, metrics=objective.measures(), jit_compile=False
        )
        self.model.optimizer.build(
            self.model.trainable_variables
        )  # mixed precision has wrapped what was made
        self._optimizer_state = self.model.optimizer.variables
        self._fresh = optimizers.state(self._optimizer_state)
        self._correction = gradients.Correction(self.model, self._trained())

    def _build(self, few: Any) -> None:
        x = few[0] if isinstance(few, tuple) else np.asarray(few[0][0])[None]
        try:
            # Made again here, where the run's seed decides what is drawn.
            self.model = copies.clone(self.model)
            self.model.build((None, *x.shape[1:]))
        except Exception as error:
            raise probe.no_fit(x, error) from error
        self._names, self._inputs = _names(self.model), Inputs.of(self.model)

    def _per_row(self, loss: Any, x: np.ndarray) -> float:
        """Return a batch's loss as the mean over its rows, also where it was summed."""
        return float(loss) / len(x) if self._ready().is_sum else float(loss)

    def _batches(
        self, data: Any, batches: list[np.ndarray], seed: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (x, y) as the model and its loss take them; y as it is stored while there is no
        loss yet.
        """
        for x, y in self._inputs.batches(data, batches, seed):
            yield x, y if self._objective is None else self._objective.target(y, self._row)


def _names(model: keras.Model) -> list[str]:
    """Return the paths of a model's weights without its own name, which Keras numbers by how many
    were made before.
    """
    return [variable.path.removeprefix(f"{model.name}/") for variable in model.weights]
