"""A second model, trained on the same batches as the first: a mixture of it and of own weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fusion_nb.core.types import Weights
from fusion_nb.models.torch.copying import copies
from fusion_nb.models.torch.gradients import like
from fusion_nb.models.torch.plain_sgd import MakeStepper
from fusion_nb.models.torch.steps import Step
from fusion_nb.models.torch.weights import array


class Mixture:
    """Predicts with alpha * own + (1 - alpha) * first, and trains its own weights by the mixture.

    first: the module that is trained beside;  own: weights of which the trained entries are used
    step:  how a batch becomes a loss;  make: makes an optimizer for parameters
    Statistics, such as BatchNorm's, belong to the mixture, and start from the first module's.
    """

    def __init__(
        self,
        first: nn.Module,
        step: Step,
        make: MakeStepper,
        *,
        alpha: float,
        own: Weights,
    ) -> None:
        self._first, self._alpha = first, alpha
        duplicate = copies.duplicate(first)
        self.module, self._step = duplicate.module, step.bound(duplicate.binder)
        trained = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        self._own = {name: nn.Parameter(like(p, own[name]).clone()) for name, p in trained.items()}
        self._optimizer = make(self._own.values())
        self._mix()

    def learn(self, x: Any, y: Any) -> None:
        """Do one step by the loss of the mixture before the first module's step; then mix anew."""
        self.module.zero_grad(set_to_none=True)
        self._step.loss(self.module, x, y).backward()
        for name, p in self.module.named_parameters():
            if name in self._own:  # the mixture is alpha times as steep in its own weights
                self._own[name].grad = None if p.grad is None else self._alpha * p.grad
        self._optimizer.step()
        self._mix()

    def own(self) -> Weights:
        """Return its own trained weights, as arrays."""
        return {name: array(p) for name, p in self._own.items()}

    def _mix(self) -> None:
        first = dict(self._first.named_parameters())
        with torch.no_grad():
            for name, p in self.module.named_parameters():
                if name in self._own:
                    p.copy_(torch.lerp(first[name].detach(), self._own[name], self._alpha))
