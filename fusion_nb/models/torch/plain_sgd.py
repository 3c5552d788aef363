"""SGD without momentum, as a run's default; it does without the imports of PyTorch's optimizers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Stepper(Protocol):
    """An optimizer as training calls it: PyTorch's own, or `PlainSgd`."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""

    def step(self) -> Any:
        """Change the parameters by their gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that it remembers."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what another one remembered."""


#: Makes an optimizer for parameters.
MakeStepper = Callable[[Iterable[nn.Parameter]], Stepper]


class PlainSgd:
    """Subtracts lr times the gradient, as `torch.optim.SGD` does without further options.

    PyTorch's optimizers import its compiler, torch._dynamo, when the first one is made: a second
    that the first result would wait for.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        self._parameters = list(parameters)
        self.param_groups: list[dict[str, Any]] = [{"params": self._parameters, "lr": lr}]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Do one step."""
        lr = self.param_groups[0]["lr"]
        changed: list[Tensor] = []
        gradients: list[Tensor] = []
        for parameter in self._parameters:
            if parameter.grad is not None:
                changed.append(parameter)
                gradients.append(parameter.grad)
        # One call for all of them: each call hands the interpreter over to other parties' threads.
        if changed:
            torch._foreach_add_(changed, gradients, alpha=-lr)

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state, in PyTorch's form."""
        return {"state": {}, "param_groups": []}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Do nothing: there is nothing to continue from."""
