"""Losses of PyTorch with weights of classes."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusion_nb.errors import OptionError, option
from fusion_nb.models.torch.objectives.loss_names import CountedLoss, known_name, setting
from fusion_nb.models.torch.objectives.targets import Targets


@dataclass(frozen=True)
class ClassWeights:
    """The weights of classes, of yes and no, or of yes and no for each flag.

    values: (classes,), or (flags, 2)
    """

    values: np.ndarray

    def loss(
        self, loss: Callable[..., Tensor], targets: Targets, output: Tensor, target: Tensor
    ) -> Tensor:
        """Return a batch's loss: the sum of weight times loss, divided by all that counts."""
        ignored = targets.ignored
        each = _each(loss)(output, target)
        weights = torch.as_tensor(self.values, dtype=each.dtype, device=each.device)
        if targets.kind == "classes":
            counted = torch.ones_like(target, dtype=torch.bool)
            if ignored is not None:
                counted = target != ignored
            rows = weights[torch.where(counted, target, 0)] * counted
            if setting(loss, "reduction", "mean") == "sum":
                return (each * rows).sum()
            return (each * rows).sum() / counted.sum().clamp_min(1)
        if targets.kind == "one_hot":
            rows = weights[target.argmax(1)]
            each = each * rows.unsqueeze(1)
        elif weights.ndim == 2:
            flat = target.reshape(len(target), -1)
            each = each.reshape(flat.shape) * torch.where(flat > 0.5, weights[:, 1], weights[:, 0])
        else:
            each = each * torch.where(target > 0.5, weights[1], weights[0])
        return each.sum() if setting(loss, "reduction", "mean") == "sum" else each.mean()


def check(loss: Any, name: str, task: str, targets: Targets) -> None:
    """Raise OptionError for a loss that can't weigh rows by their class."""
    given = option("class_weights")
    if not known_name(loss) or task not in ("classes", "binary"):
        why = "it compares numbers" if task == "numbers" else "it is your own"
        raise OptionError(
            f"{given}: the loss {name} can't weigh rows by their class: {why}",
            f"name cross_entropy, nll, bce or bce_logits with {option('loss')}, or weigh inside "
            "your own",
        )
    if targets.kind == "shares":
        raise OptionError(f"{given}: the labels are shares of classes", "leave it out")
    if setting(loss, "weight") is not None or setting(loss, "pos_weight") is not None:
        raise OptionError(
            f"{given}, but the loss {name} has weights of its own", "leave one of them out"
        )


def _each(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a loss that is not reduced to one number."""
    if isinstance(loss, CountedLoss):
        return _each(loss.inner)
    if isinstance(loss, nn.Module):
        other = copy.copy(loss)
        vars(other)["reduction"] = "none"
        return other
    return functools.partial(loss, reduction="none")
