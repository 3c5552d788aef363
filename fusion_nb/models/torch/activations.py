"""A first pass of a module from a file, whose operations are counted before they are run."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from fusion_nb.models.activations import Activations, source_of
from fusion_nb.models.torch_activations import CountedOperations
from fusion_nb.models.torch_randomness import OwnRandomness


def check(module: nn.Module, x: Tensor) -> None:
    """Raise ModelError where a module from a file would make too much of rows.

    Nothing else is wrong here: the pass that follows says whether the rows fit.
    """
    path = source_of(module)
    if path is None:
        return
    # Without values, a pass takes no time and no memory. A module whose operations depend on values
    # is run with them, each operation after it was counted.
    uncounted = [
        is_training
        for is_training in (False, True)
        if not _passes(
            copy.deepcopy(module).train(is_training).to("meta"),
            x.to("meta"),
            Activations(path, len(x), is_training),
        )
    ]
    for is_training in uncounted:
        probe = copy.deepcopy(module).train(is_training)
        _passes(probe, x, Activations(path, len(x), is_training))


def _passes(probe: nn.Module, x: Tensor, activations: Activations) -> bool:
    """Return whether a pass over rows comes to its end. Raises TooManyActivationsError."""
    operations = CountedOperations(activations)
    for name, layer in probe.named_modules():
        layer.register_forward_pre_hook(_told(operations, f"layer {name} ({_kind(layer)})"))
    with (
        activations.deciding(),
        OwnRandomness(0),
        operations,
        torch.set_grad_enabled(activations.is_training),
    ):
        probe(x)
        return True
    return False


def _kind(layer: nn.Module) -> str:
    return type(layer).__name__


def _told(operations: CountedOperations, where: str) -> Any:
    def begin(layer: nn.Module, inputs: Any) -> None:
        operations.where = where

    return begin
