"""The conclusions about a module and its rows that `check` draws before training."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusion_nb.core import rows as rows_of
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError, OptionError, option
from fusion_nb.models.torch import activations, losses, optimizers
from fusion_nb.models.torch.batches import Batches
from fusion_nb.models.torch.precision import Precision
from fusion_nb.models.torch.probe import checked_output, first_line, raised_by_torch
from fusion_nb.models.torch_randomness import OwnRandomness, own_randomness

#: Rows that are tried before training.
_PROBE = 32


@dataclass(frozen=True)
class Draws:
    """When a module draws random numbers.

    in_training:   at all while it is trained (dropout)
    in_backward:   anew in the backward pass, as checkpointing does
    in_evaluation: while it is evaluated, too
    """

    in_training: bool = False
    in_backward: bool = False
    in_evaluation: bool = False


@dataclass(frozen=True)
class Setup:
    """How one module is trained and evaluated; its clones share it.

    objective: its loss;  form: the meaning of its outputs, see `losses.form`
    batches:   how it takes its rows;  precision: how it computes;  draws: its random numbers
    example:   the inputs of one row
    """

    objective: losses.Objective
    form: str
    batches: Batches
    precision: Precision
    draws: Draws
    example: Tensor

    def own_randomness(
        self, data: Any, seed: int, *, all_along: bool = True
    ) -> AbstractContextManager[AbstractContextManager[Any]]:
        """Return a context in which random numbers of a training depend on the seed alone.

        all_along: for all operations, or only for those inside the inner context
        """
        is_dataset = not isinstance(data, tuple)  # it might draw too
        return own_randomness(
            seed,
            self.batches.device,
            self.draws.in_training or is_dataset,
            self.draws.in_backward,
            all_along=all_along or is_dataset,
        )

    def notes(self, schema: DataSchema) -> list[str]:
        """Return the conclusions as sentences for the user."""
        notes = [f"loss: {self.objective.name} ({self.objective.why})"]
        if self.objective.warning:
            notes.append(self.objective.warning)
        if schema.rows.scale_note and not self.batches.takes_numbers:
            notes.append(schema.rows.scale_note)
        if self.precision.is_reduced:
            notes.append("precision: bf16 (weights, losses and optimizer stay float32)")
        if self.batches.device.type != "cpu":
            notes.append(f"device: {self.batches.device}")
        return notes


class ModuleProbe:
    """Tries a module on a few rows, forwards and backwards, on copies.

    optimizer, lr: of the run, tried too
    """

    def __init__(
        self,
        module: nn.Module,
        batches: Batches,
        precision: Precision,
        *,
        optimizer: Any,
        lr: float | None,
    ) -> None:
        self._module = module
        self._batches = batches
        self._precision = precision
        self._optimizer = optimizer
        self._lr = lr

    def setup(self, rows: Any, schema: DataSchema, loss: Any) -> Setup:
        """Return the setup for rows of a schema; lazy layers of the module get their sizes.

        loss: "" to infer it, a name, or a callable of (output, target)
        Raises ModelError or OptionError where module, rows, labels, loss and optimizer don't go
        together.
        """
        if not any(p.requires_grad for p in self._module.parameters()):
            raise ModelError(
                "the model has no parameter that training may change",
                "set requires_grad_(True) on some",
            )
        labels = schema.labels
        batches, x, y, output, varies = self._evaluated(rows, schema)
        objective = losses.named(loss, output, labels) if loss else losses.infer(output, labels)
        draws = self._trained(x, y, objective)
        with OwnRandomness(0):
            precision = self._precision.laid_out(self._module, x)
        return Setup(
            objective,
            losses.form(objective, output),
            batches,
            precision,
            replace(draws, in_training=draws.in_training or varies, in_evaluation=varies),
            x[:1].cpu(),
        )

    def _evaluated(
        self, rows: Any, schema: DataSchema
    ) -> tuple[Batches, Tensor, Tensor, Tensor, bool]:
        """Return how rows are taken, a few with their labels, the output, and whether it is random.

        Rows of whole numbers are first tried as numbers where the model has an Embedding, and else
        as float.
        """
        indices = [np.arange(min(_PROBE, rows_of.size(rows)))]
        has_embedding = any(
            isinstance(layer, nn.Embedding | nn.EmbeddingBag) for layer in self._module.modules()
        )
        may_be_numbers = has_embedding and schema.rows.may_be_indices
        for as_numbers in (True, False) if may_be_numbers else (False,):
            batches = replace(self._batches, takes_numbers=as_numbers)
            x, y = next(batches.of(rows, indices))
            try:
                output, is_random = self._output(x)
                break
            except ModelError:
                if not as_numbers:
                    raise
        if not torch.isfinite(output).all():
            raise ModelError(
                "the model's output is not finite before any training",
                "look for NaN in its weights",
            )
        return batches, x, y, output, is_random

    def _output(self, x: Tensor) -> tuple[Tensor, bool]:
        activations.check(self._module, x)
        if any(isinstance(p, nn.UninitializedParameter) for p in self._module.parameters()):
            with torch.no_grad():
                self._module.eval()(x)
        # On a copy, which may keep tensors of this pass.
        probe = copy.deepcopy(self._module).eval()
        with OwnRandomness(0) as randomness:
            output = checked_output(lambda: probe(x), x, "")
        return output, randomness.drew

    def _trained(self, x: Tensor, y: Tensor, objective: losses.Objective) -> Draws:
        """Do one step on a copy, and return when it draws random numbers."""
        probe = copy.deepcopy(self._module).train()
        trained = (p for p in probe.parameters() if p.requires_grad)
        stepper = optimizers.make(self._optimizer, trained, self._lr)
        with OwnRandomness(0) as randomness:
            output = checked_output(lambda: probe(x), x, "while training, ")
            target, loss = _loss(objective, y, output)
            in_training = randomness.drew
            randomness.drew = False
            loss.backward()
            in_backward = randomness.drew
            try:
                stepper.step()
            except (RuntimeError, TypeError) as error:
                raise OptionError(
                    f"the optimizer {self._optimizer} can't do a step: {first_line(error)}",
                    f"others are: {', '.join(optimizers.NAMES)}",
                    option="optimizer",
                ) from error
            objective.measure(output.detach(), target)
        return Draws(in_training, in_backward)


def _loss(objective: losses.Objective, y: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """Return the target and the loss. Raises ModelError where the loss can't compare them."""
    try:
        target = objective.target(y, output)
        loss: Any = objective.loss(output, target)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if not raised_by_torch(error):
            raise
        raise ModelError(
            f"the loss {objective.name} can't compare the model's output with the labels: "
            f"{first_line(error)}",
            f"name another one with {option('loss')}, or give a function of (output, target)",
        ) from error
    if not isinstance(loss, Tensor) or loss.ndim:
        raise ModelError(
            f"the loss {objective.name} returns no single number", "use its reduction='mean'"
        )
    return target, loss
