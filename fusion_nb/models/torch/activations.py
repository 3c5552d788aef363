"""A first pass of a module from a file, whose operations are counted before they are run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fusion_nb.models.activations import Activations, source_of
from fusion_nb.models.torch import trees
from fusion_nb.models.torch.copying.copies import copied
from fusion_nb.models.torch_activations import CountedOperations
from fusion_nb.models.torch_randomness import OwnRandomness


def check(module: nn.Module, x: Any, call: Callable[[nn.Module, Any], Any]) -> None:
    """Raise ModelError where a module from a file would make too much of rows.

    x: a batch, of one or several tensors;  call: calls a module on a batch
    Nothing else is wrong here: the pass that follows says whether the rows fit.
    """
    path = source_of(module)
    if path is None:
        return
    # Without values, a pass takes no time and no memory. A module whose operations depend on values
    # is run with them, each operation after it was counted.
    num_rows = trees.num_rows(x)
    bare = trees.mapped(lambda tensor: tensor.to("meta"), x)
    uncounted = [
        is_training
        for is_training in (False, True)
        if not _passes(
            copied(module).train(is_training).to("meta"),
            lambda probe: call(probe, bare),
            Activations(path, num_rows, is_training),
        )
    ]
    for is_training in uncounted:
        probe = copied(module).train(is_training)
        _passes(probe, lambda probe: call(probe, x), Activations(path, num_rows, is_training))


def _passes(
    probe: nn.Module, forward: Callable[[nn.Module], Any], activations: Activations
) -> bool:
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
        forward(probe)
        return True
    return False


def _kind(layer: nn.Module) -> str:
    return type(layer).__name__


def _told(operations: CountedOperations, where: str) -> Any:
    def begin(layer: nn.Module, inputs: Any) -> None:
        operations.where = where

    return begin
