"""One step of training on a copy of a module, to learn before a run how the module behaves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.torch import optimizers, trees
from fusion_nb.models.torch.copying.copies import duplicate
from fusion_nb.models.torch.copying.hidden_state import Carried, HiddenState, carried, same
from fusion_nb.models.torch.copying.loss_state import foreign_parameters
from fusion_nb.models.torch.probing import lone_rows
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
    """Trains copies of a module for a step: `of_outputs` or `of_own` first, then the others.

    optimizer, lr: of the run
    """

    def __init__(self, module: nn.Module, optimizer: Any, lr: float | None) -> None:
        self._module = module
        self._optimizer = optimizer
        self._lr = lr
        self._loss = float("nan")
        self._num_foreign = 0
        self._repeats = True
        self._changes_state = self._changes_loss = False

    def of_outputs(self, step: OutputStep, x: Any, y: Tensor) -> Draws:
        """Do one step by a loss of outputs, and return when it draws random numbers.

        Raises ModelError or OptionError where output, loss or optimizer don't go together.
        """
        probe, bound = self._on_copy(step)
        assert isinstance(bound, OutputStep)
        stepper = self._stepper(probe)
        with self._watched(probe, bound), OwnRandomness(0) as randomness:
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
        with self._watched(probe, bound), OwnRandomness(0) as randomness:
            loss = bound.loss(probe, x, y)
            check_loss(loss, name)
            draws = self._step(probe, loss, stepper, randomness)
        if all(p.grad is None for p in probe.parameters()):
            raise ModelError(
                f"the loss {name} does not depend on the module that it is given",
                "compute it from the module among its arguments",
            )
        return draws

    def takes_one_row(self, step: Step, x: Any, y: Any) -> bool:
        """Return whether the module can be trained on a batch of one row, after a larger one.

        It is learned on the way whether a new copy gives the same loss as the first one did.
        """
        probe, own = self._on_copy(step)
        if trees.device_of(x) == "cpu":  # elsewhere, random numbers are not this thread's own
            with OwnRandomness(0):
                loss = float(own.loss(probe, x, y).detach())
            self._repeats = math.isclose(loss, self._loss, rel_tol=1e-4, abs_tol=1e-6)
        return lone_rows.can_train(probe, own, x, y)

    def carried(self, step: Step, x: Any, y: Any) -> Carried:
        """Return the state beside the weights that training carries from batch to batch."""
        hidden = self._hidden_state(step, x, y) if self._changes_state else HiddenState({})
        return Carried(hidden, self._changes_loss, self._num_foreign, self._repeats)

    def _hidden_state(self, step: Step, x: Any, y: Any) -> HiddenState:
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

        def train_on(module: nn.Module, position: int) -> None:
            with OwnRandomness(0):
                steps[id(module)].loss(module, *parts[position]).backward()

        return carried([module for module, _ in copies], train_on)

    @contextmanager
    def _watched(self, probe: nn.Module, step: Step) -> Iterator[None]:
        """Learn whether a training inside changes the hidden state of a copy, or its loss."""
        state, first = HiddenState.of(probe), step.fresh(probe)
        yield
        self._changes_state = bool(state.differing(HiddenState.of(probe)))
        self._changes_loss = not same(step.computes, first.computes)

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
