"""The losses that a user may name, and the settings of losses that a user gives as objects."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_nb.models.inference import Task


def _nll_of_probabilities(output: Tensor, target: Tensor, **settings: Any) -> Tensor:
    # The smallest positive float32 keeps log() finite where a softmax rounded to 0.
    logs = output.clamp_min(torch.finfo(output.dtype).tiny).log()
    if target.is_floating_point():
        return -(target * logs).sum(1).mean()
    return F.nll_loss(logs, target, **settings)


#: name -> (function of output and target, task)
LOSSES: dict[str, tuple[Callable[..., Tensor], Task]] = {
    "cross_entropy": (F.cross_entropy, "classes"),
    "nll": (F.nll_loss, "classes"),
    "nll_of_probabilities": (_nll_of_probabilities, "classes"),
    "bce": (F.binary_cross_entropy, "binary"),
    "bce_logits": (F.binary_cross_entropy_with_logits, "binary"),
    "mse": (F.mse_loss, "numbers"),
    "l1": (F.l1_loss, "numbers"),
    "huber": (F.huber_loss, "numbers"),
    "smooth_l1": (F.smooth_l1_loss, "numbers"),
}
#: torch.nn's loss classes, and functions, by the name that they go by here.
NAMES_IN_TORCH = {
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll",
    "BCELoss": "bce",
    "BCEWithLogitsLoss": "bce_logits",
    "MSELoss": "mse",
    "L1Loss": "l1",
    "HuberLoss": "huber",
    "SmoothL1Loss": "smooth_l1",
    **{function.__name__: name for name, (function, _) in LOSSES.items()},
}


@dataclass(frozen=True)
class CountedLoss:
    """A loss whose mean is over the labels that are not ignored; 0 for a batch without any.

    PyTorch's own losses are NaN there.
    """

    inner: Callable[[Tensor, Tensor], Tensor]
    ignored: int

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        if not bool((target != self.ignored).any()):
            return output.sum() * 0
        return self.inner(output, target)


def name_of(loss: Any) -> str:
    """Return how messages call a callable."""
    if isinstance(loss, CountedLoss):
        return name_of(loss.inner)
    if isinstance(loss, functools.partial):
        return name_of(loss.func)
    return str(getattr(loss, "__name__", type(loss).__name__))


def known_name(loss: Any) -> str:
    """Return the name here of one of PyTorch's losses, or "" for another callable."""
    return NAMES_IN_TORCH.get(name_of(loss), "")


def is_named(loss: Any) -> bool:
    """Return whether a loss is one of `LOSSES` without settings, beside a label that it ignores."""
    function = loss
    if isinstance(loss, CountedLoss) and isinstance(loss.inner, functools.partial):
        function = loss.inner.func if {*loss.inner.keywords} == {"ignore_index"} else None
    return any(function is known for known, _ in LOSSES.values())


def setting(loss: Any, name: str, default: Any = None) -> Any:
    """Return a setting of a loss: an attribute, such as `reduction`, or a partial's argument."""
    if isinstance(loss, CountedLoss):
        return setting(loss.inner, name, default)
    if isinstance(loss, functools.partial):
        return loss.keywords.get(name, setting(loss.func, name, default))
    return getattr(loss, name, default)


def placed(loss: Any, like: Tensor) -> Any:
    """Return a loss whose tensors, such as class weights, have the device and type of outputs.

    It is a copy where one of them has not; the user's own object is never changed.
    """
    if isinstance(loss, functools.partial):
        moved = {name: _like(value, like) for name, value in loss.keywords.items()}
        if all(moved[name] is value for name, value in loss.keywords.items()):
            return loss
        return functools.partial(loss.func, *loss.args, **moved)
    if not isinstance(loss, nn.Module) or next(loss.parameters(), None) is not None:
        return loss
    if all(_like(buffer, like) is buffer for buffer in loss.buffers()):
        return loss
    return copy.deepcopy(loss).to(like.device, like.dtype)


def _like(value: Any, like: Tensor) -> Any:
    if not isinstance(value, Tensor):
        return value
    return value.to(like.device, like.dtype if value.is_floating_point() else value.dtype)
