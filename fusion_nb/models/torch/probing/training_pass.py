"""One step of training on a copy of a module, to learn before a run how the module behaves."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.torch import optimizers, trees
from fusion_nb.models.torch.copying.copies import duplicate
from fusion_nb.models.torch.copying.hidden_state import Carried, carried, same
from fusion_nb.models.torch.copying.loss_state import foreign_parameters
from fusion_nb.models.torch.probing.outputs import (
    check_loss,
    checked_gradient,
    checked_loss,
    checked_output,
    first_line,
)
from fusion_nb.models.torch.setup import Draws
from fusion_nb.models.torch.steps import OutputStep, OwnStep, Step
from fusion_nb.models.torch_randomness import OwnRandomness


class TrainingPass:
    """Trains copies of a module for a step.

    optimizer, lr: of the run
    """

    def __init__(self, module: nn.Module, optimizer: Any, lr: float | None) -> None:
        self._module = module
        self._optimizer = optimizer
        self._lr = lr
        self._loss = float("nan")
        self._num_foreign = 0

    def of_outputs(self, step: OutputStep, x: Any, y: Tensor) -> Draws:
        """Do one step by a loss of outputs, and return when it draws random numbers.

        Raises ModelError or OptionError where output, loss or optimizer don't go together.
        """
        probe, bound = self._on_copy(step)
        assert isinstance(bound, OutputStep)
        stepper = self._stepper(probe)
        with OwnRandomness(0) as randomness:
            output = checked_output(lambda: bound.forward(probe, x), x, "while training, ")
            checked_gradient(output)
            target, loss = checked_loss(bound.objective, y, output)
            draws = self._step(probe, loss, stepper, randomness)
            with torch.no_grad():
                bound.objective.measure(output.detach(), target)
        return draws

    def of_own(self, step: OwnStep, x: Any, y: Any, name: str) -> Draws:
        """Do one step by a loss of the user's own, and return when it draws random numbers.

        Raises ModelError or OptionError where it is no loss, or the optimizer can't do a step.
        """
        probe, bound = self._on_copy(step)
        stepper = self._stepper(probe)
        with OwnRandomness(0) as randomness:
            loss = bound.loss(probe, x, y)
            check_loss(loss, name)
            draws = self._step(probe, loss, stepper, randomness)
        if all(p.grad is None for p in probe.parameters()):
            raise ModelError(
                f"the loss {name} does not depend on the module that it is given",
                "compute it from the module among its arguments",
            )
        return draws

    def carried(self, step: Step, x: Any, y: Any) -> Carried:
        """Return what the training of these rows, after a first step on them, carries along."""
        count = trees.num_rows(x)
        half = count // 2
        parts = [
            (trees.part(x, rows), trees.part(y, rows))
            for rows in (slice(0, half), slice(half, None))
        ]
        if half < 2:
            parts = [(x, y), (trees.reversed_rows(x), trees.reversed_rows(y))]
        copies = [self._on_copy(step) for _ in range(2)]
        steps = {id(module): own for module, own in copies}
        first_step = copies[0][1].fresh(copies[0][0])

        def train_on(module: nn.Module, position: int) -> None:
            with OwnRandomness(0):
                steps[id(module)].loss(module, *parts[position]).backward()

        hidden = carried([module for module, _ in copies], train_on)
        return Carried(
            hidden,
            changes_loss=not same(copies[0][1].computes, first_step.computes),
            num_foreign=self._num_foreign,
            repeats=self._repeats(step, x, y),
        )

    def _repeats(self, step: Step, x: Any, y: Any) -> bool:
        """Return whether a new copy gives the same loss as the first one did."""
        if trees.device_of(x) != "cpu":  # whose random numbers are not this thread's own
            return True
        probe, own = self._on_copy(step)
        with OwnRandomness(0):
            loss = float(own.loss(probe, x, y).detach())
        return math.isclose(loss, self._loss, rel_tol=1e-4, abs_tol=1e-6)

    def _step(
        self, probe: nn.Module, loss: Tensor, stepper: Any, randomness: OwnRandomness
    ) -> Draws:
        in_training = randomness.drew
        self._loss = float(loss.detach())
        self._num_foreign = foreign_parameters(loss, probe)
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
        return Draws(in_training, in_backward)

    def _stepper(self, probe: nn.Module) -> Any:
        trained = (p for p in probe.parameters() if p.requires_grad)
        return optimizers.make(self._optimizer, trained, self._lr)

    def _on_copy(self, step: Step) -> tuple[nn.Module, Step]:
        found = duplicate(self._module)
        return found.module.train(), step.bound(found.binder).fresh(found.module)
