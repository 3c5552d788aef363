"""The conclusions about a module and its rows that `check` draws before training."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import nn

from fusion_nb.core.schema import DataSchema
from fusion_nb.models.torch import losses, trees
from fusion_nb.models.torch.batches import Batches
from fusion_nb.models.torch.copying.binding import Binder
from fusion_nb.models.torch.copying.hidden_state import Carried, HiddenState
from fusion_nb.models.torch.forward import Forward
from fusion_nb.models.torch.objectives import class_weights
from fusion_nb.models.torch.steps import OutputStep, OwnStep, Step
from fusion_nb.models.torch_randomness import own_randomness


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
    batches:   how it takes its rows;  forward: how it is called;  draws: its random numbers
    example:   the inputs of one row;  min_rows: rows that a party must have to train it
    carried:   the state that is not among its weights and that training changes
    own:       the step of a model whose loss the user wrote for more than outputs and labels
    remarks:   more conclusions, as sentences for the user
    products_per_row: of a forward pass; 0 where that is not known
    """

    objective: losses.Objective
    form: str
    batches: Batches
    forward: Forward
    draws: Draws
    example: Any
    min_rows: int = 1
    carried: Carried = field(default_factory=lambda: Carried(HiddenState({})))
    own: OwnStep | None = None
    remarks: tuple[str, ...] = ()
    products_per_row: int = 0

    @property
    def example_on_device(self) -> Any:
        """The inputs of one row where the module is trained."""
        return trees.mapped(lambda part: part.to(self.batches.device), self.example)

    @property
    def step(self) -> Step:
        """How a batch becomes a loss."""
        return self.own or OutputStep(self.forward, self.objective)

    def bound(self, binder: Binder) -> Setup:
        """Return this setup for a copy of the module, which its loss may refer to."""
        loss = binder.bound(self.objective.loss)
        own = self.own and replace(self.own, function=binder.bound(self.own.function))
        if loss is self.objective.loss and own == self.own:
            return self
        return replace(self, objective=replace(self.objective, loss=loss), own=own)

    def with_class_weights(self, weights: np.ndarray) -> Setup:
        """Return this setup with weights of classes in training.

        Raises OptionError for a loss that can't have them.
        """
        objective = self.objective
        task = "own" if self.own is not None else objective.task
        class_weights.check(objective.loss, objective.name, task, objective.targets)
        made = class_weights.ClassWeights(weights)
        return replace(self, objective=replace(objective, weights=made))

    def begin(self, module: nn.Module) -> None:
        """Give a module the hidden state that each party's turn starts from."""
        self.carried.hidden.restore(module)

    def turn(self, module: nn.Module) -> Step:
        """Begin a party's turn, and return the step that belongs to it."""
        self.begin(module)
        return self.step.fresh(module) if self.carried.changes_loss else self.step

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
        notes = self.objective.notes()
        if schema.rows.scale_note and not self.batches.takes_numbers:
            notes.append(schema.rows.scale_note)
        if self.forward.precision.is_reduced:
            notes.append("precision: bf16 (weights, losses and optimizer stay float32)")
        if self.batches.device.type != "cpu":
            notes.append(f"device: {self.batches.device}")
        return [*notes, *self.carried.notes(self.objective.name), *self.remarks]
