"""The gradients of several copies of a module at once, each on its own batch, by `vmap`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from fusion_nb.models.torch.objectives.loss_names import LOSSES, known_name
from fusion_nb.models.torch.objectives.objective import Objective


class Vmapped:
    """Trains by `torch.func`: the module is applied once to all its copies' weights."""

    def __init__(self, module: nn.Module, objective: Objective) -> None:
        self._module, self._objective = module, objective
        self._loss: Callable[..., Tensor] = LOSSES[known_name(objective.loss)][0]
        if objective.weights is not None:
            self._loss = objective.train_loss
        self._grad = vmap(grad_and_value(self._mean_loss), in_dims=(0, 0, 0, 0, 0))

    def __call__(
        self,
        trained: Mapping[str, Tensor],
        others: Mapping[str, Tensor],
        x: Tensor,
        y: Tensor,
        shares: Tensor,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the gradient of each trained entry, and each copy's loss."""
        found: tuple[dict[str, Tensor], Tensor] = self._grad(
            dict(trained), dict(others), x, y, shares
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
