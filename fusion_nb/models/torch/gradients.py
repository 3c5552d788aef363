"""The terms that a fusion adds to a party's gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from fusion_nb.core.types import Weights


def correction(
    module: nn.Module,
    *,
    mu: float = 0.0,
    anchor: Weights | None = None,
    shift: Weights | None = None,
) -> Callable[[], None]:
    """Return a function that adds mu * (w - anchor) and shift to the gradients of the parameters.

    anchor: by default the weights that the module has now
    """
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    anchors: dict[str, Tensor] = {}
    if mu:
        anchors = {
            n: p.detach().clone() if anchor is None else like(p, anchor[n])
            for n, p in trained.items()
        }
    shifts = {n: like(p, shift[n]) for n, p in trained.items() if shift is not None and n in shift}

    def correct() -> None:
        for name, p in trained.items():
            if p.grad is None:  # it took no part in this loss
                continue
            if p.grad.is_sparse:  # a term is added to every number, not to the rows in use alone
                p.grad = p.grad.to_dense()
            if name in anchors:
                p.grad.add_(p.detach() - anchors[name], alpha=mu)
            if name in shifts:
                p.grad.add_(shifts[name])

    return correct if anchors or shifts else lambda: None


def like(parameter: Tensor, array: np.ndarray) -> Tensor:
    """Return an array as a tensor of a parameter's type, on its device."""
    return torch.as_tensor(np.asarray(array), dtype=parameter.dtype, device=parameter.device)
