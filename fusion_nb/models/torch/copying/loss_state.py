"""Copies of a loss that the user wrote as an object, which may change itself when it is called.

Such a loss, one that counts its calls or keeps an average, would carry state from one party to the
next one on the same worker.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import BuiltinFunctionType, FunctionType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fusion_nb.models.torch.copying.copies import duplicated_value

Loss = TypeVar("Loss")


def fresh(loss: Loss, module: nn.Module | None = None) -> Loss:
    """Return a copy of a loss that may change itself; the loss itself where it is a function.

    module: whose parts the copy goes on to refer to
    """
    if not _may_change(loss):
        return loss
    kept: list[Any] = []
    if module is not None:
        kept = [*module.modules(), *module.parameters(), *module.buffers()]
    found: Loss = duplicated_value(loss, {id(part): part for part in kept})
    return found


def foreign_parameters(loss: Tensor, module: nn.Module) -> int:
    """Return how many parameters get a gradient of a loss that are not the module's own."""
    own = {id(p) for p in module.parameters()}
    return sum(id(leaf) not in own for leaf in _leaves(loss))


def _leaves(loss: Tensor) -> Iterator[nn.Parameter]:
    """Yield the parameters that a loss was computed from, each once."""
    waiting, seen = [loss.grad_fn], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, nn.Parameter):
            yield leaf
        waiting.extend(following for following, _ in node.next_functions)


def _may_change(loss: Any) -> bool:
    if isinstance(loss, FunctionType | BuiltinFunctionType | torch.jit.ScriptModule):
        return False
    return not type(loss).__module__.startswith("torch.")
