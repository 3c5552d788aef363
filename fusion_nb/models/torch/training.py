"""The training of one party's module: a plain loop over batches."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusion_nb.core import rows as rows_of
from fusion_nb.core.types import TrainingResult, Weights
from fusion_nb.models.passes import Duration, epochs_or_steps
from fusion_nb.models.torch import optimizers, weights
from fusion_nb.models.torch.apfl_mixture import Mixture
from fusion_nb.models.torch.gradients import correction
from fusion_nb.models.torch.objectives.loss_sum import LossSum
from fusion_nb.models.torch.plain_sgd import Stepper
from fusion_nb.models.torch.row_gradients import per_row
from fusion_nb.models.torch.setup import Setup
from fusion_nb.models.torch.trees import num_rows


class Trainer:
    """Trains a module in place.

    module, setup: the module, and how it is trained;  gate: called between two batches
    left_out: names of weights that do not travel, and are not in the result
    optimizer, lr: of the run;  kept: a party's entries from earlier rounds, if its optimizer
    continues from them, or None
    """

    def __init__(
        self,
        module: nn.Module,
        setup: Setup,
        gate: Callable[[], None],
        *,
        optimizer: Any,
        lr: float | None,
        kept: dict[str, Any] | None,
        left_out: Collection[str] = (),
    ) -> None:
        self._module = module
        self._setup = setup
        self._step_of = setup.turn(module)
        self._gate = gate
        self._optimizer, self._lr = optimizer, lr
        self._kept = kept
        self._left_out = left_out

    def train(self, data: Any, duration: Duration, seed: int, **added: Any) -> TrainingResult:
        """Train until the end, or until the mean loss of a pass is not finite.

        added: see `Model.fit`
        """
        if not added.get("per_row"):
            return self._train(data, duration, seed, **added)
        given = {"optimizer": self._optimizer, "lr": self._lr, "left_out": self._left_out, **added}
        return per_row.train(self._module, self._setup, self._gate, data, duration, seed, **given)

    def _train(
        self,
        data: Any,
        duration: Duration,
        seed: int,
        *,
        mix: Mapping[str, Any] | None = None,
        per_row: None = None,
        **added: Any,
    ) -> TrainingResult:
        """Train by whole batches. mix, added: see `Model.fit`."""
        self._module.train()
        rows = self._setup.batches
        shuffler = torch.Generator().manual_seed(seed)
        stepper = self._make(p for p in self._module.parameters() if p.requires_grad)
        if self._kept and "optimizer" in self._kept:
            stepper.load_state_dict(copy.deepcopy(self._kept["optimizer"]))
            if self._lr is not None:  # the state holds the rate of the round that it is of
                for group in stepper.param_groups:
                    group["lr"] = self._lr
        correct = correction(self._module, **added)
        mixture = Mixture(self._module, self._step_of, self._make, **mix) if mix else None
        num_steps, mean = 0, float("nan")
        wide = torch.float64 if rows.dtype == torch.float64 else torch.float32
        passes = epochs_or_steps(
            lambda: rows.shuffled(rows_of.size(data), duration.batch_size, shuffler),
            duration.epochs,
            duration.steps,
        )
        with self._setup.own_randomness(data, seed, all_along=mixture is not None) as drawing:
            for first, batches in passes:
                total = LossSum(wide, rows.device)
                for x, y in rows.of(data, batches, seed + first):
                    self._gate()
                    loss = self._step(x, y, stepper, correct, drawing)
                    if mixture:
                        mixture.learn(x, y)
                    total.add(self._step_of.per_row(loss, num_rows(x)), num_rows(x))
                num_steps = first + len(batches)
                mean = total.value / sum(map(len, batches))
                if not np.isfinite(mean):
                    break
        if self._kept is not None:
            self._kept["optimizer"] = stepper.state_dict()
        extras = {}
        if mixture:
            extras = {"own": mixture.own(), "mixed": self._read(mixture.module)}
        return TrainingResult(
            self._read(self._module),
            {"loss": mean},
            num_steps,
            optimizers.effective_step_size(stepper, num_steps),
            extras,
        )

    def _read(self, module: nn.Module) -> Weights:
        return weights.read(module, self._left_out)

    def _make(self, parameters: Iterable[nn.Parameter]) -> Stepper:
        return optimizers.make(self._optimizer, parameters, self._lr)

    def _step(
        self,
        x: Any,
        y: Any,
        stepper: Stepper,
        correct: Callable[[], None],
        drawing: AbstractContextManager[Any],
    ) -> Tensor:
        """Do one step on a batch; return its loss."""
        with drawing:
            loss = self._step_of.loss(self._module, x, y)
        stepper.zero_grad(set_to_none=True)
        loss.backward()
        correct()
        stepper.step()
        return loss.detach()
