"""Keras 3: any `keras.Model`, trained batch by batch through Keras's own `train_on_batch`, on any backend."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fusion_nb import data as rows_of
from fusion_nb import seeds
from fusion_nb.errors import DataError, ModelError, OptionError
from fusion_nb.models.base import Model
from fusion_nb.quiet import quiet
from fusion_nb.types import Metrics, Weights

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # what TensorFlow says about the machine is of no use here
logging.getLogger("tensorflow").setLevel(logging.ERROR)
with quiet():
    import keras

    from fusion_nb.models.keras import copies, files, losses, optimizers, probe, randomness

#: Rows that are tried before training.
_PROBE = 32
#: Rows in a batch of evaluation.
_EVALUATION_BATCH = 128


class KerasModel(Model):
    """Any `keras.Model` with one input and one output, compiled or not; subclasses must be built and copyable.

    loss: "" to take what the model was compiled with, or else to infer it from the model's output and the labels;
          or a name, a Loss, or a callable of (target, output)
    keep_optimizer: a party's optimizer goes on where its last round left it; else each round has a fresh one
    """

    kind = "Keras model"
    formats: ClassVar = files.FORMATS
    packages: ClassVar = ("keras", "tensorflow" if keras.backend.backend() == "tensorflow" else keras.backend.backend())
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
        # Looked up in the configuration: Keras leaves `model.loss` as it was when a model is compiled without one.
        has_loss = self._compiled is not None and self._compiled.get("loss") is not None
        self._is_own_loss = not loss and has_loss
        self._loss = model.loss if self._is_own_loss else loss
        self._keep_optimizer = keep_optimizer
        if model.compiled and model.optimizer is not None:
            self.defaults = {**Model.defaults, "optimizer": model.optimizer}
        self._objective: losses.Objective | None = None
        self._optimizer: Any = ("sgd", None)
        self._fresh: list[np.ndarray] = []
        self._scales_bytes = not probe.scales_itself(self.model)
        self._num_words = probe.embedding_size(self.model)

    def default_lr(self, optimizer: Any) -> float | None:
        """Return the learning rate that the optimizer brings."""
        return optimizers.own_lr(optimizer)

    def clone(self) -> KerasModel:
        """Return an independent copy, compiled like this one."""
        other: KerasModel = object.__new__(KerasModel)
        other.__dict__.update(self.__dict__)
        other.model = copies.copy_of(self.model)
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
        """Fix what Keras draws while a model is being built: from Python's numbers, which are given back afterwards."""
        with seeds.Shared(seed, alone=False):
            yield

    def check(self, rows: Any, labels: np.ndarray, *, lr: float | None, optimizer: Any) -> list[str]:
        """Build what is not built, try a few rows, infer the loss, and train a step that is then undone.

        Raises ModelError, DataError or OptionError where model, rows, labels, loss and optimizer don't go together.
        """
        few = rows_of.take(rows, np.arange(min(_PROBE, rows_of.size(rows))))
        self._optimizer = optimizer, lr
        optimizers.make(optimizer, lr)  # a typo is told before the rows are looked at
        if not self.model.built:
            self._build(few)
        if self._num_words and isinstance(rows, tuple):
            self._input(rows[0])
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
        self._row = output.shape
        self.metrics = self._objective.metrics
        self._compile()
        self._probe_training(x, self._objective.target(y, output.shape))
        notes = [f"loss: {self._objective.name} ({self._objective.why})"]
        if self._objective.warning:
            notes.append(self._objective.warning)
        if self._compiled is not None and optimizer is self.defaults["optimizer"]:
            rate = "its own schedule" if lr is None else f"lr {lr:g}"
            notes.append(f"optimizer: {type(optimizer).__name__.lower()}, {rate} (as the model was compiled)")
        if isinstance(rows, tuple) and rows[0].dtype == np.uint8 and self._scales_bytes:
            notes.append("rows: bytes from 0 to 255 are scaled to [0, 1]; give float32 to a model that scales")
        wanted = copies.input_shape(self.model)
        if isinstance(rows, tuple) and wanted and not copies.fits(rows[0].shape[1:], wanted):
            notes.append(f"rows: {rows[0].shape[1:]} brought to the model's {wanted}")
        return notes

    def get_weights(self) -> Weights:
        """Return a copy of every weight by its path without the model's name; bfloat16 travels as float32.

        BatchNormalization's statistics are among them, the states of seed generators and metrics are not.
        """
        found = {}
        for name, variable in self._variables():
            array = np.array(keras.ops.convert_to_numpy(variable))
            found[name] = (
                array.astype(np.float32) if array.dtype.kind == "V" or "bfloat16" in str(array.dtype) else array
            )
        return found

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
        **local: Any,
    ) -> Metrics:
        """Train batch by batch. Raises Stopped through `gate`; stops at once when the loss is not finite."""
        if unknown := local.keys() - self.supports:
            raise OptionError(f"a Keras model can't honour {', '.join(sorted(unknown))}", "use another fusion")
        self._ready()
        if (optimizer, lr) != self._optimizer:
            self._optimizer = optimizer, lr
            self._compile()
        kept = state if state is not None and self._keep_optimizer else {}
        optimizers.restore(self.model.optimizer, kept.get("optimizer", self._fresh))
        randomness.seed_generators(self.model, seed)
        shuffler = np.random.default_rng(seed)
        count = rows_of.size(data)
        with randomness.own_randomness(seed):
            for epoch in range(epochs):
                total = 0.0
                for x, y in self._batches(data, rows_of.chunks(shuffler.permutation(count), batch_size), seed + epoch):
                    self.gate()
                    total += self._per_row(self.model.train_on_batch(x, y, return_dict=True)["loss"], x) * len(x)
                if not np.isfinite(total):
                    break
        if self._keep_optimizer:  # a copy of all its arrays, which is not made for nothing
            kept["optimizer"] = optimizers.state(self.model.optimizer)
        return {"loss": total / count}

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
        """Return a `keras.Model` with these weights, compiled as the user's was, or else with the inferred loss."""
        other = self.clone()
        other.set_weights(weights)
        copies.finish(other.model)
        if not self._is_own_loss and self._objective is not None and self._objective.is_keras:
            return other.model
        bare = copies.copy_of(other.model)
        if self._is_own_loss:
            with suppress(Exception):  # a loss or metric of the user's own can't be made again, nor held by a file
                bare.compile_from_config(self._compiled)
        return bare

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights."""
        files.save(self.native(weights), path, format)

    def _ready(self) -> losses.Objective:
        if self._objective is None:
            raise ModelError("the model was not checked against its data", "call check(rows, labels, ...) first")
        return self._objective

    def _variables(self) -> Iterator[tuple[str, Any]]:
        # By position: a copy of a subclass may number its layers differently.
        return zip(self._names, self.model.weights, strict=True)

    def _compile(self) -> None:
        """Compile the copy once; each round only puts its optimizer's state back, so nothing is traced anew."""
        objective = self._ready()
        made = optimizers.make(*self._optimizer)
        # Compiled kernels are made for each size of batch, and the last batch of each party has its own.
        self.model.compile(optimizer=made, loss=objective.loss, metrics=objective.measures(), jit_compile=False)
        made.build(self.model.trainable_variables)
        self._fresh = optimizers.state(made)

    def _build(self, few: Any) -> None:
        x = few[0] if isinstance(few, tuple) else np.asarray(few[0][0])[None]
        try:
            # Made again here, where the run's seed decides what is drawn.
            self.model = copies.clone(self.model)
            self.model.build((None, *x.shape[1:]))
        except Exception as error:
            raise probe.no_fit(x, error) from error
        self._names = _names(self.model)

    def _probe_training(self, x: np.ndarray, y: np.ndarray) -> None:
        """Do one step of training and of evaluation, and undo it."""
        objective, weights = self._ready(), [np.array(w) for w in self.model.get_weights()]
        try:
            trained = self.model.train_on_batch(x, y, return_dict=True)
            self.model.test_on_batch(x, y)
        except Exception as error:
            if str(error).startswith("Exception encountered when calling"):  # a layer, and not the loss
                raise probe.no_fit(x, error) from error
            line = f"the loss {objective.name} can't compare the model's output with the labels: "
            raise ModelError(
                line + probe.first_line(error),
                "name another one with --loss, or give a function of (target, output)",
            ) from error
        if "loss" not in trained:
            raise ModelError("the model's own train_step returns no 'loss'", "add it to the dictionary that it returns")
        self.model.set_weights(weights)

    def _per_row(self, loss: Any, x: np.ndarray) -> float:
        """Return a batch's loss as the mean over its rows, also where it was summed."""
        return float(loss) / len(x) if self._ready().is_sum else float(loss)

    def _batches(self, data: Any, batches: list[np.ndarray], seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (x, y) for each array of row indices; the seed fixes what a Dataset draws."""
        shared = seeds.Shared(seed, alone=True)
        for batch in batches:
            if isinstance(data, tuple):
                x, y = data[0][batch], data[1][batch]
            else:
                with shared:
                    rows = [data[int(index)] for index in batch]
                x, y = (np.stack([np.asarray(row[part]) for row in rows]) for part in (0, 1))
            yield self._input(x), y if self._objective is None else self._objective.target(y, self._row)

    def _input(self, x: np.ndarray) -> np.ndarray:
        if x.dtype == object or x.dtype.kind not in "biuf":
            raise DataError(f"the rows hold {x.dtype}, not numbers", "turn them into numbers first")
        if self._num_words and len(x) and not 0 <= x.min() <= x.max() < self._num_words:
            line = f"the rows hold numbers from {x.min():g} to {x.max():g}, and the model's Embedding knows 0 to"
            raise DataError(f"{line} {self._num_words - 1}", "give the Embedding a larger input_dim")
        scale = np.float32(255) if x.dtype == np.uint8 and self._scales_bytes else np.float32(1)
        return copies.bring(x, copies.input_shape(self.model)).astype(np.float32) / scale


def _names(model: keras.Model) -> list[str]:
    """Return the paths of a model's weights without its own name, which Keras numbers by how many were made before."""
    return [variable.path.removeprefix(f"{model.name}/") for variable in model.weights]
