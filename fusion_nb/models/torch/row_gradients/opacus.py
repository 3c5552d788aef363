"""Gradients of single rows by Opacus, and a check that they are those of PyTorch."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fusion_nb.errors import missing_extra
from fusion_nb.models.torch.setup import Setup

#: Largest difference of two gradients that are the same, as a share of their norm.
_SAME = 1e-3


def part(name: str) -> Any:
    """Return a module of Opacus by its name. Raises MissingExtraError without Opacus."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise missing_extra(error, "the privacy of rows") from error


@contextmanager
def row_gradients(module: nn.Module) -> Iterator[Any]:
    """Wrap a module so that a backward pass leaves the gradients of single rows on parameters.

    They are in `grad_sample`, for a loss that is a mean over rows. Nothing stays on the module.
    """
    kind = part("opacus.grad_sample").GradSampleModule
    # Rows need no gradients, of which PyTorch warns at each step.
    here = r"fusion_nb\.models\.torch\.row_gradients"
    warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning, here)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = kind(module, loss_reduction="mean")
    ordered = [
        layer.register_forward_pre_hook(_in_usual_order)
        for layer in module.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    try:
        yield wrapped
    finally:
        wrapped.to_standard_module()
        for hook in ordered:
            hook.remove()


def disagreement(module: nn.Module, setup: Setup) -> str:
    """Return the name of a parameter of which Opacus computes a wrong gradient of a row, or "".

    module: a copy, whose gradients are changed
    """
    with torch.random.fork_rng(devices=[]), row_gradients(module) as wrapped:
        output = setup.forward(wrapped, setup.example_on_device)
        weights = torch.linspace(1, 2, output.numel(), device=output.device)
        (output.reshape(-1) * weights).sum().backward()
        for name, parameter in module.named_parameters():
            plain = parameter.grad
            if plain is None or not parameter.requires_grad:
                continue
            found = parameter.grad_sample.sum(0)  # type: ignore[attr-defined]
            if not (found - plain).norm() <= _SAME * plain.norm() + 1e-9:
                return name
    return ""


def _in_usual_order(layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return a convolution's input in the usual order of memory, which Opacus takes for granted.

    In another one, such as channels last, it reads other pixels than the layer did, silently.
    """
    return tuple(part.contiguous() for part in given)
