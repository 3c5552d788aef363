"""Which loss a PyTorch model is trained with, and what its outputs are measured by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_nb.data import is_classes
from fusion_nb.errors import ModelError, nearest

Task = Literal["classes", "binary", "numbers"]


def _nll_of_probabilities(output: Tensor, target: Tensor) -> Tensor:
    # The smallest positive float32 keeps log() finite where a softmax rounded to 0.
    return F.nll_loss(output.clamp_min(torch.finfo(output.dtype).tiny).log(), target)


#: name -> (function of output and target, task)
LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Task]] = {
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
_TASK_OF_CLASS: dict[str, Task] = {
    "CrossEntropyLoss": "classes",
    "NLLLoss": "classes",
    "MultiMarginLoss": "classes",
    "BCELoss": "binary",
    "BCEWithLogitsLoss": "binary",
    "SoftMarginLoss": "binary",
}
#: Operations that only change how a tensor is looked at; the one before them decides what it means.
_VIEWS = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Clone", "Alias", "Transpose")


@dataclass(frozen=True)
class Objective:
    """A loss with the form of target it wants. `zero_one` says that binary outputs are probabilities, not logits."""

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    task: Task
    zero_one: bool = False
    why: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that go with the task, the monitored one first."""
        if self.task != "numbers":
            return "accuracy", "loss"
        return ("loss", "mae") if self.name == "mse" else ("loss", "mse", "mae")

    def target(self, y: Tensor, output: Tensor) -> Tensor:
        """Return labels in the type and shape that the loss compares with such an output."""
        if self.task == "classes":
            one_hot = y.ndim == output.ndim and y.shape == output.shape
            return y.argmax(1) if one_hot else y.reshape(output.shape[:1] + output.shape[2:]).long()
        return y.to(output.dtype).reshape(output.shape)

    def measure(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Return the metrics of one batch, as means over its rows."""
        measured = {"loss": float(self.loss(output, target))}
        if self.task == "numbers":
            error = (output - target).double()
            found = {"mse": float((error**2).mean()), "mae": float(error.abs().mean())}
            return measured | {name: found[name] for name in self.metrics if name in found}
        if self.task == "classes":
            right = output.argmax(1) == target
        else:
            right = (output > (0.5 if self.zero_one else 0.0)) == (target > 0.5)
        return measured | {"accuracy": float(right.double().mean())}


def infer(output: Tensor, labels: np.ndarray) -> Objective:
    """Return the loss that fits a model's output and the labels. Raises ModelError where none does."""
    width = output.shape[1] if output.ndim > 1 else 1
    last = _last_operation(output)
    if width > 1 and is_classes(labels) and labels.ndim == output.ndim - 1:
        _check_classes(labels, width)
        return _classifier(output, last)
    if width == 1 and labels.ndim == 1:
        if is_classes(labels) and set(np.unique(labels)) <= {0, 1}:
            return _binary(last, "one output and labels 0 and 1")
        return _named("mse", "one output and labels that are numbers")
    if labels.shape[1:] == tuple(output.shape[1:]):
        if is_classes(labels) and set(np.unique(labels)) <= {0, 1}:
            return _binary(last, "several labels of 0 and 1 for each row")
        return _named("mse", "as many outputs as numbers in each label")
    kind = "class numbers" if is_classes(labels) else "measurements"
    raise ModelError(
        f"the model gives outputs of shape (rows, {', '.join(map(str, output.shape[1:]))}), and the labels are {kind} "
        f"of shape ({', '.join(map(str, ('rows', *labels.shape[1:])))})",
        "give the model one output for each class, or one output where labels are measurements",
    )


def named(loss: Any, output: Tensor, labels: np.ndarray) -> Objective:
    """Return the loss that the user named, or gave as a callable of (output, target). Raises ModelError."""
    if callable(loss):
        task = _TASK_OF_CLASS.get(type(loss).__name__) or infer(output, labels).task
        return Objective(getattr(loss, "__name__", type(loss).__name__), loss, task, why="as given")
    if loss in LOSSES:
        chosen = _named(loss, "as named")
    else:
        short = str(loss).rpartition(".")[2]
        kind = getattr(nn, short, None)
        if not (isinstance(kind, type) and short.endswith("Loss")):
            raise ModelError(f"no loss is called {loss!r}", f"{nearest(loss, LOSSES)}there are: {', '.join(LOSSES)}")
        chosen = Objective(short, kind(), _TASK_OF_CLASS.get(short, "numbers"), short == "BCELoss", "as named")
    if chosen.task == "classes" and output.ndim > 1 and labels.ndim == output.ndim - 1:
        _check_classes(labels, output.shape[1])
    return chosen


def _named(name: str, why: str) -> Objective:
    loss, task = LOSSES[name]
    return Objective(name, loss, task, name == "bce", why)


def _classifier(output: Tensor, last: str) -> Objective:
    if last.startswith("LogSoftmax"):
        return _named("nll", "the model ends in LogSoftmax")
    total = output.detach().sum(1)
    if last.startswith("Softmax") or (
        not last and bool((output >= 0).all()) and torch.allclose(total, torch.ones_like(total), atol=1e-4)
    ):
        return _named("nll_of_probabilities", "the model ends in Softmax; without it training would be more stable")
    return _named("cross_entropy", "the model ends in logits")


def _binary(last: str, why: str) -> Objective:
    if last.startswith("Sigmoid"):
        return _named("bce", f"{why}; the model ends in Sigmoid")
    return _named("bce_logits", f"{why}; the model ends in logits")


def _check_classes(labels: np.ndarray, width: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= width:
        advice = f"give the model {high + 1} outputs" if low >= 0 else "number the classes from 0"
        if low == 1 and high == width:
            advice = "number the classes from 0: subtract 1 from the labels"
        raise ModelError(f"the model has {width} outputs, but labels run from {low} to {high}", advice)


def _last_operation(output: Tensor) -> str:
    """Return the name of the operation that made the output (`LogSoftmaxBackward0`), looking through reshapes."""
    node = output.grad_fn
    while node is not None and node.name().startswith(_VIEWS) and node.next_functions:
        node = node.next_functions[0][0]
    return node.name() if node is not None else ""
