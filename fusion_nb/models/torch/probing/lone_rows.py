"""A batch of one row: the last one of a pass, a small party, or a small test set.

`squeeze()` in forward() removes its row axis too, and batch normalization has no variance for it.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from fusion_nb.errors import ModelError
from fusion_nb.models.torch import trees
from fusion_nb.models.torch.copying.copies import copied, duplicate
from fusion_nb.models.torch.forward import Forward
from fusion_nb.models.torch.probing.outputs import first_line, lacks_gradient
from fusion_nb.models.torch.steps import OwnStep, Step
from fusion_nb.models.torch_randomness import OwnRandomness

_REFUSALS = (ModelError, RuntimeError, ValueError, IndexError, TypeError)
_HINT = (
    "give squeeze() an axis other than the rows', such as squeeze(-1), and view() the number of "
    "rows that there are, len(x)"
)
_FIRST, _LAST = slice(0, 1), slice(-1, None)


def evaluated(
    module: nn.Module,
    forward: Forward,
    x: Any,
    output: Tensor,
    *,
    is_random: bool,
    probe: nn.Module | None = None,
) -> Forward:
    """Return how a module takes one row alone in evaluation.

    output: of the module for several rows;  is_random: whether it differs from pass to pass
    probe: a copy that was evaluated on these
    Raises ModelError where it takes none.
    """
    refused: Exception = ModelError("its output has another form")
    put_back = replace(forward, alone="axis", num_axes=output.ndim)
    for tried in (forward, put_back, replace(forward, alone="twice")):
        try:
            copy, probe = probe or copied(module), None
            found = _evaluate(copy, tried, trees.part(x, _LAST))
        except _REFUSALS as error:
            refused = error
            if lacks_gradient(error) and not forward.needs_gradients:
                forward = replace(forward, needs_gradients=True)
                return evaluated(module, forward, x, output, is_random=is_random)
            continue
        if isinstance(found, Tensor) and found.shape[:1] == (1,) and found.ndim == output.ndim:
            is_same = is_random or _close(found, output[-1:])
            if forward.picks and not is_same:
                raise ModelError(
                    "the model returns tuple, and for a row alone another output than among others",
                    "put rows first (batch_first=True), and return the one output",
                )
            if tried.alone != "axis" or is_same:
                return tried
    raise ModelError(
        f"the model does not take one row alone, as a last batch may be: {first_line(refused)}",
        _HINT,
    )


def check_own(module: nn.Module, step: OwnStep, x: Any, y: Any) -> None:
    """Raise ModelError where a loss of the user's own can't be evaluated on one row."""
    found = duplicate(module)
    try:
        with OwnRandomness(0), torch.no_grad():
            alone = trees.part(x, _FIRST), trees.part(y, _FIRST)
            own = step.bound(found.binder).fresh(found.module)
            own.measure(found.module.eval(), *alone)
    except _REFUSALS as error:
        raise ModelError(
            f"the loss can't be computed for one row alone, as a last batch may be: "
            f"{first_line(error)}",
            _HINT,
        ) from error


def can_train(probe: nn.Module, step: Step, x: Any, y: Any) -> bool:
    """Return whether a copy of a module can be trained on a batch of one row."""
    try:
        with OwnRandomness(0), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a deviation of one row, say
            alone = trees.part(x, _FIRST), trees.part(y, _FIRST)
            loss = step.loss(probe.train(), *alone)
            loss.backward()
    except _REFUSALS:
        return False
    # As the deviation of one row, say. Other rows are said to be of use by the trial before.
    gradients = [p.grad for p in probe.parameters() if p.grad is not None]
    return all(
        bool((part.coalesce().values() if part.is_sparse else part).sum().isfinite())
        for part in (loss.detach(), *gradients)
    )


def doubled(x: Any, y: Any) -> tuple[Any, Any]:
    """Return rows and labels, twice where there is one row."""
    return (trees.twice(x), trees.twice(y)) if trees.num_rows(x) == 1 else (x, y)


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-4)


def _evaluate(module: nn.Module, forward: Forward, x: Any) -> object:
    with OwnRandomness(0), torch.no_grad():
        return forward(module.eval(), x)
