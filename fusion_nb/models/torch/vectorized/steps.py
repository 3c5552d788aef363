"""One step of several tasks at once: by an optimizer, or as the one product that plain SGD is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fusion_nb.core.types import TrainingTask
from fusion_nb.models.torch.plain_sgd import MakeStepper
from fusion_nb.models.torch.vectorized.batches import StackedBatch
from fusion_nb.models.torch.vectorized.dense import Dense

#: (trained entries, other entries, batches) -> (gradients, losses)
Gradients = Callable[
    [Mapping[str, Tensor], Mapping[str, Tensor], StackedBatch],
    tuple[Mapping[str, Tensor], Tensor],
]


class Steps(Protocol):
    """Steps of several tasks at once."""

    @property
    def changed(self) -> Mapping[str, Tensor]:
        """The stacks of entries that training changes."""

    def do(self, batch: StackedBatch) -> Tensor:
        """Do one step; return the losses."""


class FusedSteps:
    """Plain SGD of fully connected networks, in place.

    Tasks that start from the same weights share them at first. `values` holds the trained entries
    in stacks.
    """

    def __init__(
        self, dense: Dense, tasks: Sequence[TrainingTask], names: Sequence[str], lr: float
    ) -> None:
        self._dense, self._lr = dense, lr
        self._are_shared = all(task.weights is tasks[0].weights for task in tasks)
        if self._are_shared:
            self.values = {name: _tensor(tasks[0].weights[name]) for name in names}
        else:
            self.values = stacks(tasks, names, torch.device("cpu"))

    @property
    def changed(self) -> Mapping[str, Tensor]:
        """The stacks of entries that training changes."""
        return self.values

    def do(self, batch: StackedBatch) -> Tensor:
        """Do one step; return the losses."""
        if self._are_shared:
            self._are_shared = False
            self.values, losses = self._dense.first_step(self.values, batch, self._lr)
            return losses
        return self._dense.step(self.values, batch, self._lr)


class OptimizerSteps:
    """Steps of an optimizer that treats each number by itself, with a fusion's gradient terms.

    names:      of the entries that the optimizer changes
    statistics: of those that the forward pass changes, as batch normalization's
    """

    def __init__(
        self,
        gradients: Gradients,
        tasks: Sequence[TrainingTask],
        names: Sequence[str],
        statistics: frozenset[str],
        make: MakeStepper,
        device: torch.device,
    ) -> None:
        self.values = stacks(tasks, names, device)
        self._others = stacks(
            tasks, [name for name in tasks[0].weights if name not in self.values], device
        )
        self._statistics = statistics & self._others.keys()
        self._gradients = gradients
        self._parameters = {name: nn.Parameter(value) for name, value in self.values.items()}
        self._optimizer = make(list(self._parameters.values()))
        for group in self._optimizer.param_groups:
            if device.type == "cuda" and "capturable" in group:
                group["capturable"] = True  # Adam's count of steps lies on the device
        self._correct = _correction(self._parameters, tasks)

    @property
    def changed(self) -> Mapping[str, Tensor]:
        """The stacks of entries that training changes."""
        return self.values | {name: self._others[name] for name in self._statistics}

    def do(self, batch: StackedBatch) -> Tensor:
        """Do one step; return the losses."""
        found, losses = self._gradients(self.values, self._others, batch)
        for name, parameter in self._parameters.items():
            parameter.grad = found[name]
        self._correct()
        self._optimizer.step()
        return losses


def stacks(
    tasks: Sequence[TrainingTask], names: Sequence[str], device: torch.device
) -> dict[str, Tensor]:
    """Return the tasks' first weights of these names in stacks."""
    return {name: _stack([task.weights[name] for task in tasks], device) for name in names}


def _stack(arrays: Sequence[np.ndarray], device: torch.device) -> Tensor:
    if all(array is arrays[0] for array in arrays):
        first = _tensor(arrays[0]).to(device)
        return first.expand(len(arrays), *first.shape).contiguous()
    return torch.from_numpy(np.stack(arrays)).to(device)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.require(array, requirements=["W"]))


def _correction(
    trained: Mapping[str, nn.Parameter], tasks: Sequence[TrainingTask]
) -> Callable[[], None]:
    """Return a function that adds mu * (w - anchor) and shift to the gradients of a stack.

    `gradients.correction` does the same for one module.
    """
    options = [task.options for task in tasks]
    mu, shifted = options[0].get("mu", 0.0), options[0].get("shift") or {}
    anchors: dict[str, Tensor] = {}
    if mu:
        given = [o.get("anchor") or t.weights for o, t in zip(options, tasks, strict=True)]
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
