"""A trial of a module on a few rows before training, by which its setup is chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusion_nb.core import rows as rows_of
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.torch import losses, optimizers
from fusion_nb.models.torch.batches import Batches
from fusion_nb.models.torch.copying.copies import Duplicate, copied, duplicate
from fusion_nb.models.torch.copying.hidden_state import HiddenState, carried
from fusion_nb.models.torch.copying.originals import untouched
from fusion_nb.models.torch.forward import Forward
from fusion_nb.models.torch.precision import Precision
from fusion_nb.models.torch.probing import lone_rows
from fusion_nb.models.torch.probing.outputs import (
    checked_gradient,
    checked_loss,
    checked_output,
    evaluated_output,
    first_line,
    is_about_types,
)
from fusion_nb.models.torch.setup import Draws, Setup
from fusion_nb.models.torch.steps import OutputStep
from fusion_nb.models.torch_randomness import OwnRandomness

#: Rows that are tried before training.
_PROBE = 32
#: Errors by which torch, or the user's own forward(), refuses rows of a type.
_REFUSALS = (ModelError, RuntimeError, ValueError, IndexError, TypeError)


class ModuleProbe:
    """Tries a module on a few rows, forwards and backwards, on copies.

    original: the user's own module, which must not be reached, or None where it is not at hand
    optimizer, lr: of the run, tried too
    """

    def __init__(
        self,
        module: nn.Module,
        original: nn.Module | None,
        batches: Batches,
        precision: Precision,
        *,
        optimizer: Any,
        lr: float | None,
    ) -> None:
        self._module = module
        self._original = original
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
        name = str(getattr(loss, "__name__", type(loss).__name__)) if callable(loss) else str(loss)
        with untouched(self._original, name):
            return self._tried(rows, schema, loss)

    def _tried(self, rows: Any, schema: DataSchema, loss: Any) -> Setup:
        labels = schema.labels
        batches, x, y, returned, varies = self._evaluated(rows, schema)
        forward, output, remarks = evaluated_output(Forward(self._precision), returned, x)
        objective = losses.named(loss, output, labels) if loss else losses.infer(output, labels)
        step = OutputStep(forward, objective)
        draws = self._trained(step, x, y)
        hidden = self._hidden(step, x, y)
        forward = lone_rows.evaluated(self._module, forward, x, output, is_random=varies)
        step = OutputStep(forward, objective)
        min_rows = 1 if lone_rows.can_train(self._module, step, x, y) else 2
        batches = replace(batches, min_rows=max(batches.min_rows, min_rows))
        with OwnRandomness(0):
            precision = self._precision.laid_out(
                self._module, x, lambda found, module: replace(forward, precision=found)(module, x)
            )
        return Setup(
            objective,
            losses.form(objective, output),
            batches,
            replace(forward, precision=precision),
            replace(draws, in_training=draws.in_training or varies, in_evaluation=varies),
            x[:1].cpu(),
            min_rows,
            hidden,
            remarks,
        )

    def _evaluated(
        self, rows: Any, schema: DataSchema
    ) -> tuple[Batches, Tensor, Tensor, Any, bool]:
        """Return how rows are taken, a few with their labels, the result, and whether it is random.

        Rows of whole numbers are tried as numbers and as floats; the former first where the model
        has an Embedding. Where both fail, the reason of the try is told that was of the right type.
        """
        indices = [np.arange(min(_PROBE, rows_of.size(rows)))]
        has_embedding = any(
            isinstance(layer, nn.Embedding | nn.EmbeddingBag) for layer in self._module.modules()
        )
        refused: list[Exception] = []
        order = (True, False) if has_embedding else (False, True)
        for as_numbers in order if schema.rows.may_be_indices else (False,):
            batches = replace(self._batches, takes_numbers=as_numbers)
            x, y = next(batches.of(rows, indices))
            try:
                returned, is_random = self._output(x)
                return batches, x, y, returned, is_random
            except _REFUSALS as error:
                refused.append(error)
        raise next((error for error in refused if not is_about_types(error)), refused[0])

    def _output(self, x: Tensor) -> tuple[Any, bool]:
        if any(isinstance(p, nn.UninitializedParameter) for p in self._module.parameters()):
            with torch.no_grad():
                self._module.eval()(x)
        # On a copy, which may keep tensors of this pass.
        probe = copied(self._module).eval()
        with OwnRandomness(0) as randomness:
            returned = checked_output(lambda: probe(x), x, "")
        return returned, randomness.drew

    def _trained(self, step: OutputStep, x: Tensor, y: Tensor) -> Draws:
        """Do one step on a copy, and return when it draws random numbers."""
        probe, step = self._on_copy(step)
        trained = (p for p in probe.parameters() if p.requires_grad)
        stepper = optimizers.make(self._optimizer, trained, self._lr)
        x, y = lone_rows.doubled(x, y)
        with OwnRandomness(0) as randomness:
            output = checked_output(lambda: step.forward(probe, x), x, "while training, ")
            checked_gradient(output)
            target, loss = checked_loss(step.objective, y, output)
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
            step.objective.measure(output.detach(), target)
        return Draws(in_training, in_backward)

    def _hidden(self, step: OutputStep, x: Tensor, y: Tensor) -> HiddenState:
        """Return the first values of the state beside the weights that training changes."""
        half = len(x) // 2
        parts = [(x[:half], y[:half]), (x[half:], y[half:])]
        if half < 2:
            doubled = lone_rows.doubled(x, y)
            parts = [doubled, (doubled[0].flip(0), doubled[1].flip(0))]
        copies = [self._on_copy(step) for _ in range(2)]
        steps = {id(module): own for module, own in copies}

        def train_on(module: nn.Module, part: int) -> None:
            with OwnRandomness(0):
                steps[id(module)].loss(module, *parts[part]).backward()

        return carried([module for module, _ in copies], train_on)

    def _on_copy(self, step: OutputStep) -> tuple[nn.Module, OutputStep]:
        found: Duplicate = duplicate(self._module)
        return found.module.train(), step.bound(found.binder)
