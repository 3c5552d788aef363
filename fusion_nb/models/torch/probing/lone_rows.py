"""A batch of one row: the last one of a pass, a small party, or a small test set.

`squeeze()` in forward() removes its row axis too, and batch normalization has no variance for it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from fusion_nb.errors import ModelError
from fusion_nb.models.torch.copying.copies import copied, duplicate
from fusion_nb.models.torch.forward import Forward
from fusion_nb.models.torch.probing.outputs import first_line
from fusion_nb.models.torch.steps import OutputStep
from fusion_nb.models.torch_randomness import OwnRandomness

_REFUSALS = (ModelError, RuntimeError, ValueError, IndexError, TypeError)


def evaluated(
    module: nn.Module, forward: Forward, x: Tensor, output: Tensor, *, is_random: bool
) -> Forward:
    """Return how a module takes one row alone in evaluation.

    output: of the module for several rows;  is_random: whether it differs from pass to pass
    Raises ModelError where it takes none.
    """
    if len(x) == 1:
        x, output = torch.cat([x, x]), torch.cat([output, output])
    put_back = replace(forward, alone="axis", num_axes=output.ndim)
    for tried in (forward, put_back, replace(forward, alone="twice")):
        try:
            found = _evaluate(module, tried, x[-1:])
        except _REFUSALS as error:
            refused = error
            continue
        if isinstance(found, Tensor) and found.shape[:1] == (1,) and found.ndim == output.ndim:
            is_same = _close(found, output[-1:])
            if forward.picks and not (is_same or is_random):
                raise ModelError(
                    "the model returns tuple, and for a row alone another output than among others",
                    "put rows first (batch_first=True), and return the one output",
                )
            if tried.alone != "axis" or is_same:
                return tried
    raise ModelError(
        f"the model does not take one row alone, as a last batch may be: {first_line(refused)}",
        "give squeeze() an axis other than the rows', such as squeeze(-1)",
    )


def can_train(module: nn.Module, step: OutputStep, x: Tensor, y: Tensor) -> bool:
    """Return whether a module can be trained on a batch of one row."""
    if step.forward.alone == "twice":
        return False
    found = duplicate(module)
    step = replace(step, objective=step.bound(found.binder).objective)
    try:
        with OwnRandomness(0):
            step.loss(found.module.train(), x[:1], y[:1]).backward()
    except _REFUSALS:
        return False
    return True


def doubled(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and labels, twice where there is one row."""
    return (torch.cat([x, x]), torch.cat([y, y])) if len(x) == 1 else (x, y)


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-4)


def _evaluate(module: nn.Module, forward: Forward, x: Tensor) -> object:
    with OwnRandomness(0), torch.no_grad():
        return forward(copied(module).eval(), x)
