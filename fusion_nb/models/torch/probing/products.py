"""The work that a module does for one row, as a number of products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fusion_nb.models.torch.forward import Forward
from fusion_nb.models.torch_randomness import OwnRandomness


def products_per_row(module: nn.Module, forward: Forward, example: Any) -> int:
    """Return how many products a forward pass takes for one row: a function of sizes alone.

    Those of layers with a matrix of weights are counted, convolutions among them; 0 where the
    module can't be called so.

    module: a copy, which is left in evaluation mode;  example: the inputs of one row
    """
    found = 0

    def count(layer: nn.Module, _: Any, output: Any) -> None:
        nonlocal found
        weights = [p for p in layer.parameters(recurse=False) if p.ndim > 1]
        if weights and isinstance(output, Tensor) and not isinstance(layer, nn.Embedding):
            places = max(1, output.numel() // max(1, weights[0].shape[0]))
            found += places * sum(weight.numel() for weight in weights)

    try:
        handles = [layer.register_forward_hook(count) for layer in module.modules()]
        with torch.no_grad(), OwnRandomness(0):
            forward(module.eval(), example)
    except Exception:  # one row alone, or a forward() of its own, may be refused
        return 0
    for handle in handles:
        handle.remove()
    return found
