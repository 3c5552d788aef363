"""Rows rebuilt from the gradient of a module by matching it, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

#: Steps, their size, and the weight of the total variation of pictures.
_STEPS, _LR, _SMOOTH = 300, 0.05, 1e-3


def match_gradient(
    module: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    gradient: Sequence[np.ndarray],
    shape: tuple[int, ...],
    label: int,
    *,
    low: float,
    high: float,
    seed: int,
    gate: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Return a row whose gradient points in the direction of a given one.

    gradient: an array for each parameter, of any scale;  low, high: bounds of the row's numbers
    Source: Geiping, Bauermeister, Dröge, Moeller, "Inverting Gradients - How Easy Is It to Break
    Privacy in Federated Learning?", NeurIPS 2020.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    target = [
        torch.as_tensor(array, dtype=p.dtype) for p, array in zip(parameters, gradient, strict=True)
    ]
    length = torch.sqrt(sum((t**2).sum() for t in target))  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed % 2**63)
    start = torch.rand((1, *shape), generator=generator) * (high - low) + low
    row, labels = start.to(parameters[0].dtype).requires_grad_(), torch.tensor([label])
    optimizer = torch.optim.Adam([row], lr=_LR * (high - low))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    for _ in range(_STEPS):
        gate()
        found = torch.autograd.grad(loss(module(row), labels), parameters, create_graph=True)
        product = sum((f * t).sum() for f, t in zip(found, target, strict=True))
        norm = torch.sqrt(sum((f**2).sum() for f in found))  # type: ignore[arg-type]
        distance = 1 - product / (norm * length + 1e-12) + _SMOOTH * _variation(row)
        (row.grad,) = torch.autograd.grad(distance, row)
        row.grad.sign_()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            row.clamp_(low, high)
    return row.detach().numpy()[0]


def _variation(row: Tensor) -> Tensor:
    """Return the total variation of a picture; 0 for a row of another shape."""
    if row.ndim < 3:
        return torch.zeros(())
    return row.diff(dim=-1).abs().mean() + row.diff(dim=-2).abs().mean()
