"""PyTorch: any `nn.Module`, trained by a plain loop over batches."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fusion_nb.core.protocols import PartyLike, StackAdvice
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import Metrics, TrainingResult, TrainingTask, Weights
from fusion_nb.errors import ModelError, option
from fusion_nb.models.activations import copied_source
from fusion_nb.models.base import BatchTrainable, Model
from fusion_nb.models.class_weights import ClassWeighted
from fusion_nb.models.identity.texts import Identity
from fusion_nb.models.passes import Duration
from fusion_nb.models.per_row import PerRowTrainable
from fusion_nb.models.predicting import PredictsRows
from fusion_nb.models.torch import files, identity, optimizers, sending, threads
from fusion_nb.models.torch import weights as module_weights
from fusion_nb.models.torch.batches import Batches
from fusion_nb.models.torch.choices import CHOICES
from fusion_nb.models.torch.copying import copies, wrappers
from fusion_nb.models.torch.copying.originals import Given
from fusion_nb.models.torch.copying.parameter_hooks import ParameterHooks
from fusion_nb.models.torch.devices.lookup import find as find_device
from fusion_nb.models.torch.evaluating import Evaluator
from fusion_nb.models.torch.gradient_mode import with_gradients
from fusion_nb.models.torch.precision import Precision
from fusion_nb.models.torch.predicting import TorchEnsembling, predict
from fusion_nb.models.torch.probing.module_probe import ModuleProbe
from fusion_nb.models.torch.probing.products import products_per_row
from fusion_nb.models.torch.row_gradients.per_row import obstacle
from fusion_nb.models.torch.setup import Setup
from fusion_nb.models.torch.training import Trainer
from fusion_nb.models.torch.vectorized import advice
from fusion_nb.models.torch.vectorized.dense import DenseWay
from fusion_nb.models.torch.vectorized.training import BatchedTraining
from fusion_nb.models.torch_randomness import seeded


class TorchModel(ClassWeighted, PerRowTrainable, PredictsRows, BatchTrainable, Model):
    """Any `nn.Module`; float32 in and out unless the model says otherwise.

    loss:   "" to infer it from the model's output and the labels, a name, or a callable: of
            (output, target); of (output, target, weight) where rows are (x, y, weight); or of
            (module, batch), which is given the module that is trained and a batch as the data gives
            it. Its two parameters are called `module` (or `model`) and `batch`, or the first one is
            annotated as `nn.Module`. A module with a `training_step(batch, batch_idx)` of its own
            is trained by that, unless a loss is given.
    device: "auto" takes CUDA, then Apple's MPS, then the CPU
    keep_optimizer: a party's optimizer continues from its last round; if not, each round has a new
            one
    send:   "all" weights travel, or the "trained" ones, without those that are frozen
    precision: "bf16" computes in bfloat16, and keeps weights, losses and optimizers in float32

    This class holds the module and the conclusions of `check`, and calls `Trainer`, `Evaluator`,
    `TorchEnsembling` and `BatchedTraining`, which do the work.
    """

    base_class = "torch.nn.modules.module.Module"
    suffixes = (".pt", ".pth")
    kind = "PyTorch model"
    packages = ("torch",)
    formats: Mapping[str, str] = files.FORMATS
    whole_format = "whole"
    download_formats = ("safetensors", "pt")
    upload_hint = "send torch.save(model, path), of torch.nn's own classes (nn.Sequential, say)"
    supported_client_options = frozenset({"mu", "anchor", "shift", "mix", "per_row"})
    choices: Mapping[str, list[str]] = CHOICES

    @with_gradients
    def __init__(
        self,
        module: nn.Module,
        *,
        loss: Any = "",
        device: str = "auto",
        keep_optimizer: bool = False,
        precision: str = "float32",
        send: str = "all",
    ) -> None:
        sending.check(send)
        self.device = find_device(device)
        module = wrappers.unwrapped(module)
        self._precision = Precision.of(precision, module, self.device)
        duplicate = copies.duplicate(module)
        self.module = copied_source(duplicate.module.to(self.device), module)
        # Batch normalization can't take the variance of one row.
        self.min_rows = 2 if module_weights.has_batch_norm(module) else 1
        held_back = module_weights.hold_back(self.module)
        hooks = ParameterHooks(self.module)
        self._given = Given(module, duplicate.binder.bound(loss), held_back, hooks)
        self._keep_optimizer = keep_optimizer
        self._send = send
        self.formats = files.formats_of(module)
        self._setup: Setup | None = None
        self._dense = DenseWay()

    @with_gradients
    def clone(self) -> TorchModel:
        """Return an independent copy: the module is copied, the conclusions about it are shared."""
        other = copy.copy(self)
        duplicate = copies.duplicate(self.module)
        other.module = duplicate.module
        loss, hooks = duplicate.binder.bound(self._given.loss), ParameterHooks(other.module)
        other._given = replace(self._given, loss=loss, hooks=hooks)
        other._setup = self._setup and self._setup.bound(duplicate.binder)
        return other

    @property
    def thread_safe(self) -> bool:
        """Whether copies may be trained in threads: on a CPU, each with its own random numbers."""
        needs_shared_generator = self._setup is not None and self._setup.draws.in_backward
        return self.device.type == "cpu" and not needs_shared_generator

    @property
    def products_per_row(self) -> int:
        """Products that a forward pass takes for one row, known after `check`; 0: not known."""
        return self._setup.products_per_row if self._setup else 0

    @classmethod
    def single_threaded(cls) -> AbstractContextManager[None]:
        """Return a context in which a thread's computations stay on one core."""
        return threads.single_threaded()

    @classmethod
    def load(cls, path: Path) -> nn.Module:
        """Return the whole model in a `.pt` file.

        Raises ModelError for a file that holds more than torch.nn layers.
        """
        return files.load(path)

    @classmethod
    def seeded(cls, seed: int) -> AbstractContextManager[Any]:
        """Fix PyTorch's random state while a model is built, and restore the user's afterwards."""
        return seeded(seed)

    @with_gradients
    def check(
        self, rows: Any, schema: DataSchema, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Try a few rows, forwards and backwards, and infer the loss; return the conclusions.

        Raises ModelError or OptionError where model, rows, labels, loss and optimizer don't go
        together.
        """
        floating = [p.dtype for p in self.module.parameters() if p.is_floating_point()]
        dtype = floating[0] if floating else torch.float32
        batches = Batches.of_schema(schema, dtype, self.device, self.min_rows)
        original, self._given = self._given.original, replace(self._given, original=None)
        probe = ModuleProbe(
            self.module, original, batches, self._precision, optimizer=optimizer, lr=lr
        )
        self._setup = probe.setup(rows, schema, self._given.loss)
        self.min_rows = self._setup.min_rows
        self.ignored_label = self._setup.objective.targets.ignored_label
        self.metrics = self._setup.step.metrics
        copied, example = copies.copied(self.module), self._setup.example_on_device
        products = products_per_row(copied, self._setup.forward, example)
        self._setup = replace(self._setup, products_per_row=products)
        self.module = self._setup.forward.precision.prepare(self.module)
        return [*self._setup.notes(schema), *sending.notes(self.module, self._send)]

    def get_weights(self) -> Weights:
        """Return a copy of every tensor of the state dict; bfloat16 travels as float32.

        Where only trained weights are sent, those that are frozen are left out.
        """
        return module_weights.read(self.module, self._left_out)

    def frozen_weights(self) -> Weights:
        """Return a copy of the weights that do not travel: the same at every party."""
        everything = module_weights.read(self.module) if self._left_out else {}
        return {name: array for name, array in everything.items() if name in self._left_out}

    @property
    def _left_out(self) -> frozenset[str]:
        return sending.left_out(self.module, self._send)

    def set_weights(self, weights: Weights) -> None:
        """Copy weights into the module's own tensors."""
        module_weights.write(self.module, weights)

    def trained_names(self) -> frozenset[str]:
        """Return the names of the parameters that are not frozen, each name of a shared one."""
        return module_weights.trained_names(self.module)

    def batch_norm_names(self) -> frozenset[str]:
        """Return the names of batch normalization's parameters, statistics and counters."""
        return module_weights.batch_norm_names(self.module)

    @with_gradients
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
        """Train by a plain loop; stop at once when the loss is not finite.

        Raises Stopped through `gate`.
        """
        self.check_client_options(client_options)
        trainer = Trainer(
            self.module,
            self._checked(),
            self.gate,
            optimizer=optimizer,
            lr=lr,
            kept=state if self._keep_optimizer else None,
            left_out=self._left_out,
        )
        return trainer.train(data, Duration(epochs, batch_size, steps), seed, **client_options)

    @with_gradients
    def evaluate(self, data: Any) -> Metrics:
        """Return the objective's metrics, averaged over the rows in float64."""
        evaluator = Evaluator(self.module, self._checked(), self.gate, self.num_cores)
        return evaluator.evaluate(data)

    @with_gradients
    def native(self, weights: Weights) -> nn.Module:
        """Return the user's own module with these weights, on the CPU and in evaluation mode."""
        other = self.clone()
        other.set_weights(weights)
        if self._setup is not None:
            self._setup.begin(other.module)
        module_weights.give_back(other.module, self._given.held_back)
        return module_weights.plain(other.module).eval()

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights."""
        example = self._setup.example if self._setup else torch.empty(0)
        files.save(self.native(weights), path, format, example)

    def identity(self, *, lr: float | None, optimizer: Any) -> Identity:
        """Return the module's layers, the loss and the optimizer as text."""
        return {
            **identity.of_module(self.module),
            "loss": identity.of_loss(self._checked().objective.loss),
            "optimizer": optimizers.identity(optimizer, lr),
        }

    def per_row_obstacle(self) -> str:
        """Return why its rows have no gradients of their own, or ""."""
        return obstacle(self.module, self._checked(), self._keep_optimizer)

    @property
    def loss_name(self) -> str:
        """The name of the loss."""
        return self._checked().objective.name

    def weigh_classes(self, weights: np.ndarray) -> None:
        """Train with weights of classes. Raises OptionError for a loss that can't have them."""
        self._setup = self._checked().with_class_weights(weights)

    # Predictions

    @property
    def task(self) -> str:
        """The task that the model learns. Raises ModelError for a language model."""
        if self._checked().forward.tokens:
            raise ModelError(
                "predictions of a language model, one for each token, can't be joined",
                "use a fusion",
            )
        return self._checked().objective.task

    @with_gradients
    def predict(self, data: Any) -> np.ndarray:
        """Return the predictions for all rows in order."""
        return predict(self.module, self._checked(), self.gate, data)

    @property
    def ensembling(self) -> TorchEnsembling:
        """Its part in ensembles."""
        return TorchEnsembling(self.module, self._checked(), self.gate, self.native)

    @with_gradients
    def train_batched(self, tasks: Sequence[TrainingTask]) -> list[TrainingResult | Exception]:
        """Train several parties' models; tasks with equal options are trained as one."""
        return self._batched().train(tasks)

    @with_gradients
    def check_batchable(self, options: Mapping[str, Any], parties: Sequence[PartyLike]) -> str:
        """Return why parties must train one by one, by form or a trial of two steps, or ""."""
        if self._keep_optimizer:
            return "parties keep their optimizers"
        if self._left_out:
            return f"only trained weights travel ({option('send', 'trained')})"
        if reason := self._batched().obstacle(options, parties):
            return reason
        before = self.get_weights()
        reason = self._batched().trial(options, parties, before)
        self.set_weights(before)
        return reason

    def advise_stack(self, options: Mapping[str, Any], parties: Sequence[PartyLike]) -> StackAdvice:
        """Return whether parties are faster as one, by the module's form and sizes."""
        setup = self._checked()
        is_dense = self._dense.of(self.module, setup.objective) is not None
        return advice.of(self.module, setup, options, parties, is_dense=is_dense)

    def _train_alone(self, task: TrainingTask) -> TrainingResult:
        self.set_weights(task.weights)
        return self.fit(task.data, **task.options)

    def _batched(self) -> BatchedTraining:
        setup = self._checked()
        way = self._dense.of(self.module, setup.objective)
        return BatchedTraining(self.module, setup, self.gate, way, self._train_alone)

    def _checked(self) -> Setup:
        if self._setup is None:
            raise ModelError(
                "the model was not checked against its data", "call check(rows, schema, ...) first"
            )
        return self._setup
