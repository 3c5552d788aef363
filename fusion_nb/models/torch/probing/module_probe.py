"""A trial of a module on a few rows before training, by which its setup is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from fusion_nb.core import rows as rows_of
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError
from fusion_nb.models.torch import activations, losses, trees
from fusion_nb.models.torch.batches import Batches
from fusion_nb.models.torch.copying.copies import copied
from fusion_nb.models.torch.copying.originals import untouched
from fusion_nb.models.torch.forward import Forward, spread_of
from fusion_nb.models.torch.language_models import (
    check_one_output,
    check_tokens,
    is_peft,
    is_pretrained,
    token_task,
)
from fusion_nb.models.torch.precision import Precision
from fusion_nb.models.torch.probing import lone_rows, own_losses
from fusion_nb.models.torch.probing.outputs import (
    check_parts,
    checked_output,
    evaluated_output,
    is_about_types,
    lacks_gradient,
)
from fusion_nb.models.torch.probing.training_pass import TrainingPass
from fusion_nb.models.torch.setup import Draws, Setup
from fusion_nb.models.torch.steps import OutputStep, OwnStep, Step
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
        self._pass = TrainingPass(module, optimizer, lr)

    def setup(self, rows: Any, schema: DataSchema, loss: Any) -> Setup:
        """Return the setup for rows of a schema; lazy layers of the module get their sizes.

        loss: "" to infer it, a name, or a callable of (output, target), of (output, target, weight)
              or of (module, batch)
        Raises ModelError or OptionError where module, rows, labels, loss and optimizer don't go
        together.
        """
        if not any(p.requires_grad for p in self._module.parameters()):
            raise ModelError(
                "the model has no parameter that training may change",
                "set requires_grad_(True) on some",
            )
        check_tokens(self._module, schema.rows)
        name = own_losses.name_of(loss) if callable(loss) else str(loss)
        with untouched(self._original, name):
            own = own_losses.find(loss, self._module, self._batches, rows, self._precision)
            if own is not None:
                return self._tried_own(own, rows, schema)
            return self._tried(rows, schema, loss)

    def _tried(self, rows: Any, schema: DataSchema, loss: Any) -> Setup:
        check_one_output(self._module)
        batches, (x, y, forward, returned, varies, probe) = self._first_that_works(
            rows, schema, self._evaluated, self._batches
        )
        if not isinstance(returned, torch.Tensor) and callable(loss):
            step = own_losses.of_outputs(loss, forward, returned, y)
            if step is not None:
                found = own_losses.Found(step, batches, own_losses.name_of(loss), "as given", ())
                return self._concluded_own(found, batches, x, y, varies)
        forward, output, remarks = evaluated_output(forward, returned, x)
        labels = schema.labels
        tokens = token_task(probe, self._precision, x, y, output)
        if tokens is not None:
            forward, labels = tokens.forward(forward), tokens.labels(labels)
            output, remarks = forward.arranged(output), (tokens.note,)
        elif is_pretrained(probe) or is_peft(probe):
            remarks = ()  # that its logits are the output is no surprise
        objective = losses.named(loss, output, labels) if loss else losses.infer(output, labels)
        objective = tokens.objective(objective) if tokens is not None else objective
        draws = self._pass.of_outputs(OutputStep(forward, objective), x, y)
        forward = lone_rows.evaluated(
            self._module, forward, x, output, is_random=varies, probe=probe
        )
        min_rows = self._min_rows(OutputStep(forward, objective), x, y)
        if forward.alone == "twice":
            min_rows = 2
        with OwnRandomness(0):
            precision = self._precision.laid_out(
                self._module, x, lambda found, module: replace(forward, precision=found)(module, x)
            )
        return Setup(
            objective,
            losses.form(objective, output),
            replace(batches, min_rows=max(batches.min_rows, min_rows)),
            replace(forward, precision=precision),
            replace(draws, in_training=draws.in_training or varies, in_evaluation=varies),
            trees.mapped(lambda t: t[:1].cpu(), x),
            min_rows,
            self._pass.carried(OutputStep(forward, objective), x, y),
            remarks=remarks,
        )

    def _tried_own(self, found: own_losses.Found, rows: Any, schema: DataSchema) -> Setup:
        def tried(batches: Batches, x: Any, y: Any) -> tuple[Any, Any, bool]:
            probe = copied(self._module).eval()
            with OwnRandomness(0) as randomness, torch.set_grad_enabled(step.needs_gradients):
                step.fresh(self._module).loss(probe, x, y)
            check_parts(probe, self._module)
            return x, y, randomness.drew

        step = found.step
        try:
            batches, (x, y, varies) = self._first_that_works(rows, schema, tried, found.batches)
        except RuntimeError as error:
            if not lacks_gradient(error):
                raise
            step = replace(step, needs_gradients=True)
            batches, (x, y, varies) = self._first_that_works(rows, schema, tried, found.batches)
            found = replace(found, step=step)
        return self._concluded_own(found, batches, x, y, varies)

    def _concluded_own(
        self, found: own_losses.Found, batches: Batches, x: Any, y: Any, varies: bool
    ) -> Setup:
        step: OwnStep = found.step
        draws: Draws = self._pass.of_own(step, x, y, found.name)
        lone_rows.check_own(self._module, step, x, y)
        min_rows = self._min_rows(step, x, y)
        return Setup(
            losses.Objective(found.name, losses.LOSSES["mse"][0], "own", why=found.why),
            "numbers",
            replace(batches, min_rows=max(batches.min_rows, min_rows)),
            Forward(self._precision),
            replace(draws, in_training=draws.in_training or varies, in_evaluation=varies),
            trees.mapped(lambda t: t[:1].cpu(), x),
            min_rows,
            self._pass.carried(step, x, y),
            step,
            found.remarks,
        )

    def _min_rows(self, step: Step, x: Any, y: Any) -> int:
        return 1 if self._pass.takes_one_row(step, x, y) else 2

    def _first_that_works(
        self,
        rows: Any,
        schema: DataSchema,
        tried: Callable[[Batches, Any, Any], Any],
        batches: Batches,
    ) -> tuple[Batches, Any]:
        """Return how rows are taken, and what a trial of a few of them came to.

        Rows of whole numbers are tried as numbers and as floats; the former first where the model
        has an Embedding. Where both fail, the reason of the try is told that was of the right type.
        """
        indices = [np.arange(min(_PROBE, rows_of.size(rows)))]
        refused: list[Exception] = []
        for as_numbers in self._types(schema):
            batches = replace(batches, takes_numbers=as_numbers)
            try:
                x, y = lone_rows.doubled(*next(batches.of(rows, indices)))
                return batches, tried(batches, x, y)
            except _REFUSALS as error:
                refused.append(error)
        raise next((error for error in refused if not is_about_types(error)), refused[0])

    def _types(self, schema: DataSchema) -> Iterator[bool]:
        has_embedding = any(
            isinstance(layer, nn.Embedding | nn.EmbeddingBag) for layer in self._module.modules()
        )
        if not schema.rows.may_be_indices:
            yield False
        else:
            yield from (True, False) if has_embedding else (False, True)

    def _evaluated(
        self, batches: Batches, x: Any, y: Any
    ) -> tuple[Any, Any, Forward, Any, bool, nn.Module]:
        """Return rows, labels, how they are called, the result, if it is random, and the copy."""
        forward = Forward(self._precision, spread=spread_of(self._module, x))
        exact = forward.exact
        activations.check(self._module, x, exact.returned)
        if any(isinstance(p, nn.UninitializedParameter) for p in self._module.parameters()):
            with torch.no_grad():
                exact.returned(self._module.eval(), x)
        # On a copy, which may keep tensors of this pass.
        probe = copied(self._module).eval()
        with OwnRandomness(0) as randomness:
            returned = checked_output(lambda: exact.returned(probe, x), x, "")
        check_parts(probe, self._module)
        return x, y, forward, returned, randomness.drew, probe
