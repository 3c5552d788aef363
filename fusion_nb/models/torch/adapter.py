"""PyTorch: any `nn.Module`, trained by a plain loop over batches."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fusion_nb.core import rows as rows_of
from fusion_nb.core.types import Weights
from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.base import Model
from fusion_nb.models.torch import devices, files, losses, optimizers, threads
from fusion_nb.models.torch.apfl_mixture import Mixture
from fusion_nb.models.torch.batches import Batches
from fusion_nb.models.torch.evaluating import TorchMeasuring
from fusion_nb.models.torch.gradients import correction
from fusion_nb.models.torch.precision import NAMES as PRECISIONS
from fusion_nb.models.torch.precision import Precision
from fusion_nb.models.torch.predicting import TorchPredicting
from fusion_nb.models.torch.probe import checked_output, first_line, raised_by_torch
from fusion_nb.models.torch.randomness import OwnRandomness, own_randomness, seeded
from fusion_nb.models.torch.vectorized import TorchTogether
from fusion_nb.models.torch.vectorized.dense import Dense

#: Rows that are tried before training.
_PROBE = 32


class TorchModel(TorchMeasuring, TorchTogether, TorchPredicting, Model):
    """Any `nn.Module`; float32 in and out unless the model says otherwise.

    loss:   "" to infer it from the model's output and the labels, a name, or a callable of (output,
            target)
    device: "auto" takes CUDA, then Apple's MPS, then the CPU
    keep_optimizer: a party's optimizer goes on where its last round left it; else each round has a
    fresh one
    precision: "bf16" computes in bfloat16, and keeps weights, losses and optimizers in float32
    """

    kind = "PyTorch model"
    formats: ClassVar = {
        "pt": "model.pt",
        "safetensors": "model.safetensors",
        "whole": "model_whole.pt",
        "torchscript": "model.torchscript.pt",
        "pt2": "model.pt2",
        "onnx": "model.onnx",
    }
    packages: ClassVar = ("torch",)
    supports: ClassVar = frozenset({"mu", "anchor", "shift", "mix"})
    choices: ClassVar = {
        "optimizer": optimizers.NAMES,
        "loss": sorted(losses.LOSSES),
        "precision": PRECISIONS,
    }

    def __init__(
        self,
        module: nn.Module,
        *,
        loss: Any = "",
        device: str = "auto",
        keep_optimizer: bool = False,
        precision: str = "float32",
    ) -> None:
        self.device = devices.find(device)
        self._precision = Precision.of(precision, module, self.device)
        self.module = copy.deepcopy(module).to(self.device)
        self._loss = loss
        self._keep_optimizer = keep_optimizer
        self._objective: losses.Objective | None = None
        self._example = torch.empty(0)
        floating = [p.dtype for p in self.module.parameters() if p.is_floating_point()]
        self._has_embedding = any(
            isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in self.module.modules()
        )
        # BatchNorm can't take the variance of one row.
        self.min_rows = 1 + any(isinstance(m, _BatchNorm) for m in self.module.modules())
        self._rows = Batches(floating[0] if floating else torch.float32, self.device, self.min_rows)
        # Whether it draws random numbers at all, anew on its way back, and when it is evaluated
        # too.
        self._draws = self._redraws = self._varies = False
        self._dense: Dense | None = None

    def clone(self) -> TorchModel:
        """Return an independent copy; only the module is copied, what was inferred about it is
        shared.
        """
        other = copy.copy(self)
        other.module = copy.deepcopy(self.module)
        return other

    @property
    def side_by_side(self) -> bool:
        """Whether copies may be trained in threads: on a CPU, unless the model needs PyTorch's one
        random generator.
        """
        return self.device.type == "cpu" and not self._redraws

    @classmethod
    def on_one_core(cls) -> AbstractContextManager[None]:
        """Return a context in which a thread's computations stay on one core."""
        return threads.on_one_core()

    @classmethod
    def load(cls, path: Path) -> nn.Module:
        """Return the whole model in a `.pt` file. Raises ModelError for a file that holds more than
        torch.nn layers.
        """
        return files.load(path)

    @classmethod
    def seeded(cls, seed: int) -> AbstractContextManager[Any]:
        """Fix PyTorch's random state while a model is being built, and give the user's own back
        afterwards.
        """
        return seeded(seed)

    def check(
        self, rows: Any, labels: np.ndarray, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Try a few rows, forwards and backwards, and infer the loss; return what was inferred.

        Raises ModelError or OptionError where model, rows, labels, loss and optimizer don't go
        together.
        """
        if not any(p.requires_grad for p in self.module.parameters()):
            raise ModelError(
                "the model has no parameter that training may change",
                "set requires_grad_(True) on some",
            )
        x, y, output = self._try(rows)
        self._example = x[:1].cpu()
        self._objective = (
            losses.named(self._loss, output, labels) if self._loss else losses.infer(output, labels)
        )
        self.metrics = self._objective.metrics
        self._probe_training(x, y, lr, optimizer)
        with OwnRandomness(0):
            self._precision = self._precision.laid_out(self.module, x)
        self.module = self._precision.prepare(self.module)
        notes = [f"loss: {self._objective.name} ({self._objective.why})"]
        if self._objective.warning:
            notes.append(self._objective.warning)
        if isinstance(rows, tuple) and rows[0].dtype == np.uint8 and not self._rows.takes_numbers:
            notes.append("rows: bytes from 0 to 255 are scaled to [0, 1]")
        if self._precision.is_reduced:
            notes.append("precision: bf16 (weights, losses and optimizer stay float32)")
        if self.device.type != "cpu":
            notes.append(f"device: {self.device}")
        return notes

    def _probe_training(self, x: Tensor, y: Tensor, lr: float | None, optimizer: Any) -> None:
        """Do one step on a copy; find out whether it draws random numbers, forwards, or anew while
        going backwards.
        """
        objective, probe = self._ready(), copy.deepcopy(self.module).train()
        steps = optimizers.make(optimizer, (p for p in probe.parameters() if p.requires_grad), lr)
        with OwnRandomness(0) as randomness:
            output = checked_output(lambda: probe(x), x, "while training, ")
            try:
                target = objective.target(y, output)
                loss = objective.loss(output, target)
            except (RuntimeError, ValueError, IndexError, TypeError) as error:
                if not raised_by_torch(error):
                    raise
                raise ModelError(
                    f"the loss {objective.name} can't compare the model's output with the "
                    f"labels: {first_line(error)}",
                    "name another one with --loss, or give a function of (output, target)",
                ) from error
            if not isinstance(loss, Tensor) or loss.ndim:
                raise ModelError(
                    f"the loss {objective.name} returns no single number",
                    "use its reduction='mean'",
                )
            self._draws |= randomness.drew
            randomness.drew = False
            loss.backward()
            self._redraws = randomness.drew
            try:
                steps.step()
            except (RuntimeError, TypeError) as error:
                hint = f"others are: {', '.join(optimizers.NAMES)}"
                raise OptionError(
                    f"the optimizer {optimizer} can't do a step: {first_line(error)}", hint
                ) from error
            objective.measure(output.detach(), target)

    def get_weights(self) -> Weights:
        """Return a copy of every tensor of the state dict; bfloat16 travels as float32, which holds
        it exactly.
        """
        return _weights(self.module)

    def trained_names(self) -> frozenset[str]:
        """Return the names of the parameters that are not frozen, under each name that a shared one
        has.
        """
        named = self.module.named_parameters(remove_duplicate=False)
        return frozenset(name for name, parameter in named if parameter.requires_grad)

    def norm_names(self) -> frozenset[str]:
        """Return the names of what batch normalization has: parameters, statistics and counters."""
        layers = [
            name for name, module in self.module.named_modules() if isinstance(module, _BatchNorm)
        ]
        return frozenset(
            entry for entry in self.get_weights() if entry.rpartition(".")[0] in layers
        )

    def set_weights(self, weights: Weights) -> None:
        """Copy weights into the module's own tensors."""
        own = self.module.state_dict()
        with torch.no_grad():
            for name, array in weights.items():
                own[name].copy_(torch.from_numpy(np.require(array, requirements=["W"])))

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
        mix: Mapping[str, Any] | None = None,
        **local: Any,
    ) -> dict[str, Any]:
        """Train by a plain loop. Raises Stopped through `gate`; stops at once when the loss is not
        finite.
        """
        if unknown := local.keys() - self.supports:
            raise OptionError(
                f"a PyTorch model can't honour {', '.join(sorted(unknown))}", "use another fusion"
            )
        objective = self._ready()
        self.module.train()
        shuffler = torch.Generator().manual_seed(seed)

        def make(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
            return optimizers.make(optimizer, parameters, lr)

        stepper = make(p for p in self.module.parameters() if p.requires_grad)
        kept = state if state is not None and self._keep_optimizer else {}
        if "optimizer" in kept:
            stepper.load_state_dict(copy.deepcopy(kept["optimizer"]))
        correct = correction(self.module, **local)
        mixture = Mixture(self.module, make, **mix) if mix else None
        taken, mean = 0, float("nan")
        with self._own_randomness(data, seed, all_along=mixture is not None) as drawing:
            while (taken < steps) if steps else (epochs > 0):
                batches = self._rows.shuffled(rows_of.size(data), batch_size, shuffler)
                batches = batches[: steps - taken] if steps else batches
                total = torch.zeros((), device=self.device)
                for x, y in self._rows.of(data, batches, seed + taken):
                    self.gate()
                    with drawing:
                        output = self._precision.run(self.module, x)
                        target = objective.target(y, output)
                        loss = objective.loss(output, target)
                    stepper.zero_grad(set_to_none=True)
                    loss.backward()
                    correct()
                    stepper.step()
                    if mixture:
                        mixture.learn(x, target, objective.loss)
                    total += objective.per_row(loss.detach(), len(x)) * len(x)
                taken, epochs = taken + len(batches), epochs - 1
                mean = float(total) / sum(map(len, batches))
                if not np.isfinite(mean):
                    break
        if self._keep_optimizer:
            kept["optimizer"] = stepper.state_dict()
        extras = {"own": mixture.own(), "mixed": _weights(mixture.module)} if mixture else {}
        return {
            "loss": mean,
            "steps": taken,
            "travel": optimizers.travel(stepper, taken),
            "extras": extras,
        }

    def _own_randomness(
        self, data: Any, seed: int, *, all_along: bool = True
    ) -> AbstractContextManager[AbstractContextManager[Any]]:
        # A Dataset might draw too.
        draws, all_along = (
            self._draws or not isinstance(data, tuple),
            all_along or not isinstance(data, tuple),
        )
        return own_randomness(seed, self.device, draws, self._redraws, all_along=all_along)

    def native(self, weights: Weights) -> nn.Module:
        """Return an `nn.Module` of the user's own class with these weights, on the CPU and in
        evaluation mode.
        """
        other = self.clone()
        other.set_weights(weights)
        native: nn.Module = other.module.cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return native.eval()

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights."""
        files.save(self.native(weights), path, format, self._example)

    def _ready(self) -> losses.Objective:
        if self._objective is None:
            raise ModelError(
                "the model was not checked against its data", "call check(rows, labels, ...) first"
            )
        return self._objective

    def _try(self, rows: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return a few rows with their labels, and what the model makes of them.

        Rows of whole numbers are tried as numbers first where the model has an Embedding, and else
        as float.
        """
        indices = [np.arange(min(_PROBE, rows_of.size(rows)))]
        for as_numbers in (True, False) if self._has_embedding else (False,):
            self._rows.takes_numbers = as_numbers
            x, y = next(self._rows.of(rows, indices))
            try:
                if any(isinstance(p, nn.UninitializedParameter) for p in self.module.parameters()):
                    with torch.no_grad():
                        self.module.eval()(x)
                # On a copy, which may keep what it likes of this pass.
                probe = copy.deepcopy(self.module).eval()
                with OwnRandomness(0) as randomness:
                    output = checked_output(lambda probe=probe, x=x: probe(x), x, "")  # type: ignore[misc]
                self._draws = self._varies = randomness.drew
                break
            except ModelError:
                if not as_numbers or x.is_floating_point():
                    raise
        if not torch.isfinite(output).all():
            raise ModelError(
                "the model's output is not finite before any training",
                "look for NaN in its weights",
            )
        return x, y, output


def _weights(module: nn.Module) -> Weights:
    return {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor)
        .detach()
        .cpu()
        .numpy()
        .copy()
        for name, tensor in module.state_dict().items()
        if isinstance(tensor, Tensor)
    }
