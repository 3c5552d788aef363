"""Losses that the user wrote for more than outputs and labels."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from fusion_nb.core import rows as rows_of
from fusion_nb.errors import ModelError, option
from fusion_nb.models.torch.batches import Batches
from fusion_nb.models.torch.copying.loss_state import fresh
from fusion_nb.models.torch.forward import Forward, spread_of
from fusion_nb.models.torch.precision import Precision
from fusion_nb.models.torch.steps import (
    OfBatch,
    OfOutputs,
    OfTrainingStep,
    OfWeighted,
    OwnStep,
    has_training_step,
    num_positional,
    takes_batch,
    takes_weight,
)

_REFUSALS = (RuntimeError, ValueError, IndexError, TypeError, AttributeError, KeyError)


@dataclass(frozen=True)
class Found:
    """A loss of the user's own: its step, the batches that it takes, its name and why it is used.

    remarks: sentences for the user
    """

    step: OwnStep
    batches: Batches
    name: str
    why: str
    remarks: tuple[str, ...]


def find(
    loss: Any, module: nn.Module, batches: Batches, rows: Any, precision: Precision
) -> Found | None:
    """Return the loss of (module, batch) or of weighted rows; None for one of outputs and labels.

    Raises ModelError where rows have weights that the loss does not take.
    """
    whole = replace(batches, form="whole")
    if takes_batch(loss):
        step = OwnStep(OfBatch(loss), precision)
        return Found(step, whole, name_of(loss), "as given, of (module, batch)", ())
    if not loss and has_training_step(module):
        kind = type(module).__name__
        _check_steps(module)
        remark = f"optimizer: that of the run; configure_optimizers of {kind} is not used"
        remarks = (remark,) if hasattr(module, "configure_optimizers") else ()
        step = OwnStep(OfTrainingStep(), precision)
        return Found(step, whole, "training_step", f"{kind} computes its own", remarks)
    if isinstance(rows, tuple) or not rows_of.size(rows):
        return None
    batch, _ = next(whole.of(rows, [np.arange(1)]))
    if not isinstance(batch, tuple) or len(batch) != 3:
        return None
    if not takes_weight(loss.forward if isinstance(loss, nn.Module) else loss):
        raise ModelError(
            "the rows are (x, y, weight), and the loss takes no weight",
            f"give with {option('loss')} a function of (output, target, weight) or of (module, "
            "batch); rows of two inputs are ((a, b), y)",
        )
    forward = Forward(precision, spread=spread_of(module, batch[0]))
    step = OwnStep(OfWeighted(forward, loss), precision)
    weighted = replace(batches, form="weighted")
    return Found(step, weighted, name_of(loss), "as given, of (output, target, weight)", ())


def _check_steps(module: nn.Module) -> None:
    """Raise ModelError for a training step that takes more than one optimizer."""
    kind = type(module).__name__
    function: Any = module.training_step
    try:
        inspect.signature(function).bind(*[None] * num_positional(function, 2))
        is_bound = True
    except TypeError:
        is_bound = False
    if getattr(module, "automatic_optimization", True) is False or not is_bound:
        raise ModelError(
            f"training_step of {kind} works with optimizers of its own, as a GAN's does; parties "
            "train with one",
            "return one loss from training_step(batch, batch_idx), or give a loss of (module, "
            f"batch) with {option('loss')}",
        )


def of_outputs(loss: Any, forward: Forward, returned: Any, y: Any) -> OwnStep | None:
    """Return the step of a loss that takes all that the model returns; None where it doesn't."""
    loss = loss() if isinstance(loss, type) else loss
    try:
        found = fresh(loss)(returned, y)
    except _REFUSALS:
        return None
    if not isinstance(found, Tensor) or found.ndim:
        return None
    return OwnStep(OfOutputs(forward, loss), forward.precision)


def name_of(loss: Any) -> str:
    """Return how a loss is called in messages."""
    return str(getattr(loss, "__name__", type(loss).__name__))
