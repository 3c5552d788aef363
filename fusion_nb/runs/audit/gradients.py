"""Rows rebuilt by matching gradients, of models that PyTorch trains."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusion_nb.core import arithmetic
from fusion_nb.core.types import Weights
from fusion_nb.runs.run import Run


def rebuild(
    run: Run,
    before: Weights,
    after: Weights,
    shape: tuple[int, ...],
    label: int,
    bounds: tuple[float, float],
) -> tuple[np.ndarray | None, str]:
    """Return a row whose gradient points where an update does, and how; or None and why not.

    bounds: the smallest and the largest number of rows
    """
    model: Any = run.federation.model
    if "torch" not in model.packages or model.task != "classes":
        return None, (
            "rows are rebuilt from a dense first layer, or by matching gradients of a PyTorch "
            "model of classes, and this model is neither"
        )
    from torch import nn

    from fusion_nb.models.torch.row_gradients.inversion import match_gradient

    module = model.native(before)
    change = arithmetic.change(after, before)
    names = [name for name, p in module.named_parameters() if p.requires_grad]
    if any(name not in change for name in names):
        return None, "not all trained weights travel, so that gradients can't be matched"
    try:
        found = match_gradient(
            module,
            nn.CrossEntropyLoss(),
            [-change[name] for name in names],
            shape,
            label,
            low=bounds[0],
            high=bounds[1],
            seed=run.federation.config.seed,
        )
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        # A module of any kind: it may take no real numbers, or have no second derivative.
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        return None, f"gradients of this model can't be matched ({line})"
    return found, "by matching its gradient"
