"""The gradients of several copies of a module at once, each on its own batch, by `vmap`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from fusion_nb.models.torch.objectives.loss_names import LOSSES, known_name
from fusion_nb.models.torch.objectives.objective import Objective
from fusion_nb.models.torch.vectorized.batches import StackedBatch
from fusion_nb.models.torch.vectorized.convolutions import StackedConvolutions
from fusion_nb.models.torch.vectorized.randomness import StackedRandomness


class Vmapped:
    """Trains by `torch.func`: the module is applied once to all its copies' weights.

    looks_across: whether its layers see a batch as a whole, as batch normalization does, so that
                  no row may fill up a short one
    randomness:   the random numbers of each copy, or None where the module draws none
    """

    def __init__(
        self,
        module: nn.Module,
        objective: Objective,
        *,
        looks_across: bool = False,
        randomness: StackedRandomness | None = None,
    ) -> None:
        self._module, self._objective = module, objective
        self._is_by_size, self._randomness = looks_across or randomness is not None, randomness
        self._loss: Callable[..., Tensor] = LOSSES[known_name(objective.loss)][0]
        if objective.weights is not None:
            self._loss = objective.train_loss
        self._grad = vmap(
            grad_and_value(self._mean_loss), in_dims=(0, 0, 0, 0, 0), randomness="different"
        )

    @property
    def are_alike(self) -> bool:
        """Whether every step is the same operations on tensors of the same shapes."""
        return not self._is_by_size

    def __call__(
        self, trained: Mapping[str, Tensor], others: Mapping[str, Tensor], batch: StackedBatch
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the gradient of each trained entry, and each copy's loss.

        Statistics among the other entries are brought up to date in place.
        """
        if not self._is_by_size:
            return self._of(trained, others, batch)
        found = {name: torch.zeros_like(stack) for name, stack in trained.items()}
        losses = torch.zeros_like(batch.shares[:, 0])
        for tasks, part in batch.parts():
            with self._randomness.of(tasks.tolist()) if self._randomness else nullcontext():
                if len(tasks) == len(losses):
                    return self._of(trained, others, part)
                index = torch.from_numpy(tasks).to(losses.device)
                some = {name: stack[index] for name, stack in others.items()}
                gradients, losses[index] = self._of(
                    {name: stack[index] for name, stack in trained.items()}, some, part
                )
            for name, gradient in gradients.items():
                found[name][index] = gradient
            for name, stack in some.items():
                others[name][index] = stack
        return found, losses

    def _of(
        self, trained: Mapping[str, Tensor], others: Mapping[str, Tensor], batch: StackedBatch
    ) -> tuple[dict[str, Tensor], Tensor]:
        is_gpu = batch.x.device.type == "cuda"
        with StackedConvolutions(len(batch.x)) if is_gpu else nullcontext():
            found: tuple[dict[str, Tensor], Tensor] = self._grad(
                dict(trained), dict(others), batch.x, batch.y, batch.shares
            )
        return found

    def _mean_loss(
        self,
        trained: dict[str, Tensor],
        others: dict[str, Tensor],
        x: Tensor,
        y: Tensor,
        shares: Tensor,
    ) -> Tensor:
        output = functional_call(self._module, {**trained, **others}, (x,))
        target = self._objective.target(y, output)

        ignored = self._objective.targets.ignored
        settings = {} if ignored is None else {"ignore_index": ignored, "reduction": "sum"}

        def of_row(output: Any, target: Any) -> Tensor:
            return self._loss(output[None], target[None], **settings)

        losses = vmap(of_row)(output, target)
        if ignored is None:
            return (losses * shares).sum()
        is_row = shares > 0
        counted = (target != ignored).reshape(len(target), -1).sum(1) * is_row
        return (losses * is_row).sum() / counted.sum().clamp_min(1)
