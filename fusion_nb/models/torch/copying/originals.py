"""The user's own module, which no training may reach: parties train copies of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from fusion_nb.errors import ModelError
from fusion_nb.models.torch.copying.hidden_state import same_numbers
from fusion_nb.models.torch.copying.parameter_hooks import ParameterHooks


@dataclass(frozen=True)
class Given:
    """The objects that the user gave for a model.

    original: the user's own module until it was tried, or None;  loss: bound to the copy of it
    held_back: the names of the buffers that its copy leaves out of its weights
    hooks: those of the copy's parameters
    """

    original: nn.Module | None
    loss: Any
    held_back: frozenset[str]
    hooks: ParameterHooks


@contextmanager
def untouched(original: nn.Module | None, loss: str) -> Iterator[None]:
    """Leave the user's module as it is, whatever is tried inside.

    loss: the name of the loss that the user gave, or ""
    Raises ModelError where a loss, a hook or a replaced method trains the user's module.
    """
    if original is None:
        yield
        return
    gradients = [(name, p, p.grad) for name, p in original.named_parameters()]
    modes = [(layer, layer.training) for layer in original.modules()]
    buffers = [
        (name, b, b.detach().clone()) for name, b in original.named_buffers() if not is_lazy(b)
    ]
    for _, parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
        reached = [name for name, p, _ in gradients if p.grad is not None]
        changed = [name for name, buffer, kept in buffers if not same_numbers(buffer, kept)]
    finally:
        for _, parameter, gradient in gradients:
            parameter.grad = gradient
        for layer, mode in modes:
            layer.training = mode
        with torch.no_grad():
            for _, buffer, kept in buffers:
                buffer.copy_(kept)
    if reached:
        used = f"the loss {loss}, a hook" if loss else "a hook"
        raise ModelError(
            f"{used} or a replaced method uses the notebook's own model, whose "
            f"parameter {reached[0]!r} got a gradient; parties train copies of it",
            "write a loss of (module, batch), which is given the trained copy; in a hook use the "
            "module that it is given, and in forward() self",
        )
    if changed:
        raise ModelError(
            f"a hook or a replaced method changes the buffer {changed[0]!r} of the notebook's own "
            "model; parties train copies of it",
            "in a hook use the module that it is given, and in forward() self",
        )
