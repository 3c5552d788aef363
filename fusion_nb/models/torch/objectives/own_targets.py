"""The shape in which a loss of the user's own takes labels: that of outputs, or their own.

A function of `output.squeeze(1)` and labels in the shape (rows, 1) would compare each row with all.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fusion_nb.core.schema import LabelSchema
from fusion_nb.models.torch.copying.loss_state import fresh
from fusion_nb.models.torch.objectives.targets import Targets


def fitting(loss: Callable[[Tensor, Tensor], Any], output: Tensor, labels: LabelSchema) -> Targets:
    """Return how labels of as many numbers as outputs are given to a loss.

    They have the shape of outputs, unless the loss then computes more numbers than with labels in
    their own shape: it compares each with several.
    """
    like_output, as_shaped = Targets("like_output"), Targets("as_shaped")
    if tuple(output.shape[1:]) == labels.shape:
        return like_output
    loss, y = fresh(loss), _made_up(len(output), labels)
    few = _most_numbers(loss, output, as_shaped.of(y, output))
    many = _most_numbers(loss, output, like_output.of(y, output))
    return as_shaped if few < many else like_output


def _made_up(num_rows: int, labels: LabelSchema) -> Tensor:
    """Return labels within the range of the real ones."""
    low, high = labels.scaled
    shares = torch.linspace(0, 1, num_rows * math.prod(labels.shape))
    y = low + shares * (high - low)
    return (y.round() if labels.are_whole else y).reshape(num_rows, *labels.shape)


def _most_numbers(loss: Callable[[Tensor, Tensor], Any], output: Tensor, target: Tensor) -> float:
    """Return how many numbers the largest result inside a loss has; infinity where it fails."""
    largest = _Largest()
    try:
        with torch.no_grad(), warnings.catch_warnings(), largest:
            warnings.simplefilter("ignore")
            loss(output.detach(), target)
    except Exception:  # anything that the user's function may raise
        return math.inf
    return largest.num_numbers


class _Largest(TorchDispatchMode):
    """Keeps the size of the largest tensor that an operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.num_numbers = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: see `OwnRandomness`."""
        return False

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.num_numbers = max(self.num_numbers, result.numel())
        return result
