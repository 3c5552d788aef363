"""Keras 3: any `keras.Model` on any backend, trained batch by batch through `train_on_batch`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core import seeds
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import Metrics, TrainingResult, Weights
from fusion_nb.errors import ModelError, OptionError, option
from fusion_nb.models.activations import copied_source
from fusion_nb.models.base import Model
from fusion_nb.models.class_weights import ClassWeighted
from fusion_nb.models.identity.configurations import of_layers
from fusion_nb.models.identity.texts import Identity
from fusion_nb.models.predicting import PredictsRows
from fusion_nb.models.quiet import quiet

# TensorFlow's messages about the machine are of no use here.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
logging.getLogger("tensorflow").setLevel(logging.ERROR)
with quiet():
    import keras

    from fusion_nb.models.keras import copies, files, losses, optimizers, preparing
    from fusion_nb.models.keras.compilation import Compilation
    from fusion_nb.models.keras.ensembling import KerasEnsembling
    from fusion_nb.models.keras.predicting import Predictor, Pupil
    from fusion_nb.models.keras.probe import layers_of
    from fusion_nb.models.keras.setup import Setup
    from fusion_nb.models.keras.training import Trainer
    from fusion_nb.models.keras.variables import NamedVariables, names_of


class KerasModel(ClassWeighted, PredictsRows, Model):
    """Any `keras.Model`, compiled or not, with one or several inputs and outputs.

    A model that is not built yet is built on a party's rows.
    loss: "" to take the one that the model was compiled with, or else to infer it from the model's
          output and the labels; or a name, a Loss, or a callable of (target, output)
    keep_optimizer: a party's optimizer continues from its last round; if not, each round has a new
          one

    This class holds the model and the conclusions of `check`, and calls `Trainer`, `Predictor` and
    `KerasEnsembling`, which do the work.
    """

    base_class = "keras.src.models.model.Model"
    suffixes = (".keras",)
    kind = "Keras model"
    packages = ("keras", keras.backend.backend())
    formats: Mapping[str, str] = files.FORMATS
    whole_format = "keras"
    download_formats = ("keras",)
    upload_hint = "send model.save('model.keras'), of Keras's own layers"
    supported_client_options = frozenset({"mu", "anchor", "shift"})
    choices: Mapping[str, list[str]] = {"optimizer": optimizers.NAMES, "loss": losses.NAMES}
    class_axis = -1

    def __init__(self, model: keras.Model, *, loss: Any = "", keep_optimizer: bool = False) -> None:
        #: The user's own model, until `check` has compared its copy with it.
        self._theirs: keras.Model | None = model
        self.model = copied_source(copies.copy_of(model), model)
        self._names = names_of(model)
        self._compilation = Compilation.of(model)
        self._loss = loss
        self._keep_optimizer = keep_optimizer
        if self._compilation.optimizer is not None:
            self.defaults = {**Model.defaults, "optimizer": self._compilation.optimizer}
        self._setup: Setup | None = None
        self._trainer: Trainer | None = None
        #: Copies of the model that learn from predictions, by their learning rate.
        self._pupils: dict[float, Pupil] = {}

    @property
    def _uses_compiled_loss(self) -> bool:
        return not self._loss and self._compilation.loss is not None

    def default_lr(self, optimizer: Any) -> float | None:
        """Return the learning rate that the optimizer brings."""
        return optimizers.own_lr(optimizer)

    def clone(self) -> KerasModel:
        """Return an independent copy, compiled like this one."""
        other: KerasModel = object.__new__(KerasModel)
        other.__dict__.update(self.__dict__)
        other.model, other._pupils = copies.copy_of(self.model), {}
        if self._trainer is not None:
            other._compile(self._trainer.optimizer, self._trainer.lr)
        return other

    @classmethod
    def load(cls, path: Path) -> keras.Model:
        """Return the model in a `.keras` file, read in Keras's safe mode. Raises ModelError."""
        return files.load(path)

    @classmethod
    def seeded(cls, seed: int) -> AbstractContextManager[Any]:
        """Fix the numbers that Keras draws while a model is built: it draws from Python's."""
        return seeds.SeededGlobalRandomness(seed, exclusive=False)

    def check(
        self, rows: Any, schema: DataSchema, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Build an unbuilt model, try a few rows, infer the loss, and train a step that is undone.

        Raises ModelError, DataError or OptionError where model, rows, labels, loss and optimizer
        don't go together.
        """
        optimizers.make(optimizer, lr)  # a wrong name is reported before the rows are looked at
        prepared = preparing.prepare(self.model, self._compilation, self._loss, rows, schema)
        self.model, self._names, self._setup = prepared.model, prepared.names, prepared.setup
        self._compile(optimizer, lr)
        self.metrics = prepared.try_out(self._theirs)
        self._theirs = None
        theirs, notes = self._compilation.optimizer, prepared.notes
        if theirs is not None and optimizer is theirs:
            notes.append(self._compilation.optimizer_note(lr))
        return notes

    def get_weights(self) -> Weights:
        """Return a copy of every weight by its path without the model's name.

        BatchNormalization's statistics are among them, the states of seed generators and metrics
        are not. bfloat16 travels as float32.
        """
        return self._variables().read()

    def set_weights(self, weights: Weights) -> None:
        """Assign weights to the model's own variables."""
        self._variables().write(weights)

    def trained_names(self) -> frozenset[str]:
        """Return the names of the weights that are trainable."""
        return frozenset(self._variables().trained())

    def batch_norm_names(self) -> frozenset[str]:
        """Return the names of batch normalization's weights and statistics."""
        return self._variables().batch_norm_names()

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
        **client_options: Any,
    ) -> TrainingResult:
        """Train batch by batch; stop at once when the loss is not finite.

        Raises Stopped through `gate`.
        """
        self.check_client_options(client_options)
        trainer = self._checked_trainer()
        if not trainer.takes(optimizer, lr):
            trainer = self._compile(optimizer, lr)
        return trainer.train(
            data,
            self.gate,
            epochs=epochs,
            batch_size=batch_size,
            steps=steps,
            seed=seed,
            kept=state if self._keep_optimizer else None,
            **client_options,
        )

    def evaluate(self, data: Any) -> Metrics:
        """Return the objective's metrics, averaged over the rows."""
        added = self.added_metrics
        own = tuple(name for name in self.metrics if name not in added)
        return self._checked_trainer().evaluate(data, self.gate, own)

    def native(self, weights: Weights) -> keras.Model:
        """Return a `keras.Model` with these weights.

        It is compiled as the user's was, or else with the inferred loss.
        """
        other = self.clone()
        other.set_weights(weights)
        copies.finish(other.model)
        is_own = self._uses_compiled_loss
        if not is_own and self._setup is not None and self._setup.objective.is_keras:
            return other.model
        bare = copies.copy_of(other.model)
        if is_own:
            self._compilation.repeat(bare)
        return bare

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights."""
        files.save(self.native(weights), path, format)

    @property
    def loss_name(self) -> str:
        """The name of the loss."""
        return self._checked().objective.name

    def identity(self, *, lr: float | None, optimizer: Any) -> Identity:
        """Return the model's layers, the loss and the optimizer as text."""
        return {
            **of_layers(self.model, layers_of(self.model)),
            "loss": self._checked().objective.identity(),
            "optimizer": optimizers.identity(optimizer, lr),
        }

    def weigh_classes(self, weights: np.ndarray) -> None:
        """Train with weights of classes.

        Raises OptionError for a loss, or a train_step of the model's own, that can't have them.
        """
        trainer = self._checked_trainer()
        if type(self.model).train_step is not keras.Model.train_step:
            raise OptionError(
                f"{option('class_weights')}: {type(self.model).__name__} has a train_step of its "
                "own, which may not look at weights of rows",
                "leave it out, or weigh rows in train_step",
            )
        self._setup = self._checked().with_class_weights(weights)
        self._compile(trainer.optimizer, trainer.lr)

    # Predictions

    @property
    def task(self) -> str:
        """The task that the model learns."""
        return self._checked().task

    def predict(self, data: Any) -> np.ndarray:
        """Return the predictions for all rows in order.

        data: as in `evaluate`, or inputs alone, as an array
        """
        return Predictor(self.model, self._checked(), self.gate).predict(data)

    @property
    def ensembling(self) -> KerasEnsembling:
        """Its part in ensembles."""
        trainer, setup = self._checked_trainer(), self._checked()
        return KerasEnsembling(self.model, self._names, trainer, setup, self.gate, self._pupils)

    def _compile(self, optimizer: Any, lr: float | None) -> Trainer:
        self._trainer = Trainer(self.model, self._variables(), self._checked(), optimizer, lr)
        return self._trainer

    def _variables(self) -> NamedVariables:
        return NamedVariables(self.model, self._names)

    def _checked(self) -> Setup:
        if self._setup is None:
            raise ModelError(
                "the model was not checked against its data", "call check(rows, schema, ...) first"
            )
        return self._setup

    def _checked_trainer(self) -> Trainer:
        self._checked()
        assert self._trainer is not None
        return self._trainer
