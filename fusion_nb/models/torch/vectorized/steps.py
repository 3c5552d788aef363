"""One step of several trainings at once: by an optimizer, or as the one product that plain SGD
comes to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn, optim

from fusion_nb.core.types import Training
from fusion_nb.models.torch.vectorized.dense import Dense

Gradients = Callable[
    [Mapping[str, Tensor], Mapping[str, Tensor], Tensor, Tensor, Tensor],
    tuple[Mapping[str, Tensor], Tensor],
]


class FusedSteps:
    """Plain SGD of fully connected networks, in place. Trainings that start from the same weights
    share them at first.

    `values` holds the trained entries in stacks.
    """

    def __init__(
        self, dense: Dense, trainings: Sequence[Training], names: Sequence[str], lr: float
    ) -> None:
        self._dense, self._lr = dense, lr
        self._are_shared = all(training.weights is trainings[0].weights for training in trainings)
        if self._are_shared:
            self.values = {name: _tensor(trainings[0].weights[name]) for name in names}
        else:
            self.values = stacks(trainings, names, torch.device("cpu"))

    def do(self, x: Tensor, y: Tensor, shares: Tensor) -> Tensor:
        """Do one step; return the losses."""
        if self._are_shared:
            self._are_shared = False
            self.values, losses = self._dense.first_step(self.values, x, y, shares, self._lr)
            return losses
        return self._dense.step(self.values, x, y, shares, self._lr)


class OptimizerSteps:
    """Steps of any optimizer that treats each number by itself, with what a fusion adds to the
    gradients.
    """

    def __init__(
        self,
        gradients: Gradients,
        trainings: Sequence[Training],
        names: Sequence[str],
        make: Callable[[Sequence[nn.Parameter]], optim.Optimizer],
        device: torch.device,
    ) -> None:
        self.values = stacks(trainings, names, device)
        self._others = stacks(
            trainings, [name for name in trainings[0].weights if name not in self.values], device
        )
        self._gradients = gradients
        self._parameters = {name: nn.Parameter(value) for name, value in self.values.items()}
        self._optimizer = make(list(self._parameters.values()))
        self._correct = _correction(self._parameters, trainings)

    def do(self, x: Tensor, y: Tensor, shares: Tensor) -> Tensor:
        """Do one step; return the losses."""
        found, losses = self._gradients(self.values, self._others, x, y, shares)
        for name, parameter in self._parameters.items():
            parameter.grad = found[name]
        self._correct()
        self._optimizer.step()
        return losses


def stacks(
    trainings: Sequence[Training], names: Sequence[str], device: torch.device
) -> dict[str, Tensor]:
    """Return the trainings' first weights of these names, one on the other."""
    return {
        name: _stack([training.weights[name] for training in trainings], device) for name in names
    }


def _stack(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    if all(array is arrays[0] for array in arrays):
        first = _tensor(arrays[0]).to(device)
        return first.expand(len(arrays), *first.shape).contiguous()
    return torch.from_numpy(np.stack(arrays)).to(device)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.require(array, requirements=["W"]))


def _correction(
    trained: Mapping[str, nn.Parameter], trainings: Sequence[Training]
) -> Callable[[], None]:
    """Return what adds mu * (w - anchor) and shift to the gradients, as `gradients.correction` does
    for one module.
    """
    options = [training.options for training in trainings]
    mu, shifted = options[0].get("mu", 0.0), options[0].get("shift") or {}
    anchors: dict[str, Tensor] = {}
    if mu:
        given = [o.get("anchor") or t.weights for o, t in zip(options, trainings, strict=True)]
        anchors = {n: _stack([anchor[n] for anchor in given], p.device) for n, p in trained.items()}
    shifts = {
        name: _stack([np.asarray(o["shift"][name]) for o in options], p.device).to(p.dtype)
        for name, p in trained.items()
        if name in shifted
    }

    def correct() -> None:
        for name, p in trained.items():
            assert p.grad is not None
            if name in anchors:
                p.grad.add_(p.detach() - anchors[name], alpha=mu)
            if name in shifts:
                p.grad.add_(shifts[name])

    return correct
