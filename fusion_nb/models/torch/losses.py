"""The loss that a PyTorch model is trained with, and the metrics of its outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fusion_nb.core.schema import LabelSchema
from fusion_nb.errors import ModelError, nearest
from fusion_nb.models import inference
from fusion_nb.models.inference import Task


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
#: torch.nn's loss classes by the name that they go by here.
_CLASSES = {
    "CrossEntropyLoss": "cross_entropy",
    "NLLLoss": "nll",
    "BCELoss": "bce",
    "BCEWithLogitsLoss": "bce_logits",
    "MSELoss": "mse",
    "L1Loss": "l1",
    "HuberLoss": "huber",
    "SmoothL1Loss": "smooth_l1",
}
#: Operations that only change the view of a tensor; the one before them decides its meaning.
_VIEWS = (
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Squeeze",
    "Unsqueeze",
    "Clone",
    "Alias",
    "Transpose",
    "Permute",
    "Select",
    "Slice",
    "Index",
    "Clamp",
    "Expand",
    "ToCopy",
)


@dataclass(frozen=True)
class Objective:
    """A loss, and the form of target that it takes.

    task:     "classes" (one of several), "binary" (yes or no for each output), "numbers", or "own"
              for a callable that alone can interpret the shapes of its outputs and labels
    zero_one: binary outputs are probabilities, not logits
    why:      how it was chosen;  warning: a doubt that the user should look at, or ""
    """

    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    task: Task
    zero_one: bool = False
    why: str = ""
    warning: str = ""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that go with the task, the monitored one first."""
        if self.task in ("classes", "binary"):
            return "accuracy", "loss"
        if self.task == "own":
            return ("loss",)
        return ("loss", "mae") if self.name == "mse" else ("loss", "mse", "mae")

    def target(self, y: Tensor, output: Tensor) -> Tensor:
        """Return labels in the type and shape that the loss compares with such an output."""
        if self.task == "classes":
            one_hot = y.ndim == output.ndim and y.shape == output.shape
            return y.argmax(1) if one_hot else y.reshape(output.shape[:1] + output.shape[2:]).long()
        y = y.to(output.dtype) if self.task != "own" or y.is_floating_point() else y
        return y if self.task == "own" else y.reshape(output.shape)

    def per_row(self, loss: Tensor, num_rows: int) -> Tensor:
        """Return a batch's loss as the mean over its rows, also where it was summed."""
        return loss / num_rows if getattr(self.loss, "reduction", "mean") == "sum" else loss

    def measure(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Return the metrics of one batch, as means over its rows."""
        measured = {"loss": float(self.per_row(self.loss(output, target), len(output)))}
        if self.task == "own":
            return measured
        if self.task == "numbers":
            error = (output - target).cpu().double()  # on the CPU, as not every device has float64
            found = {"mse": float((error**2).mean()), "mae": float(error.abs().mean())}
            return measured | {name: found[name] for name in self.metrics if name in found}
        if self.task == "classes":
            counted = target != getattr(self.loss, "ignore_index", -100)
            right = (output.argmax(1) == target)[counted]
        else:
            right = (output > (0.5 if self.zero_one else 0.0)) == (target > 0.5)
        return measured | {"accuracy": float(right.cpu().double().mean())}


def infer(output: Tensor, labels: LabelSchema) -> Objective:
    """Return the loss that fits a model's output and the labels.

    Raises ModelError where none does.
    """
    decision = inference.decide(tuple(output.shape), labels, class_axis=1)
    last = _last_operation(output)
    if decision.task == "classes":
        return _classifier(output, last)
    if decision.task == "binary":
        return _binary(output, last, decision.why)
    return replace(_named("mse", decision.why), warning=decision.warning)


def form(objective: Objective, output: Tensor) -> str:
    """Return the meaning of outputs: the name of the loss that takes such outputs, or "numbers".

    Outputs of a model with a loss of the user's own mean what a loss for the same task takes.
    """
    if objective.name in ("nll", "bce", "bce_logits", "nll_of_probabilities", "cross_entropy"):
        return objective.name
    if objective.task == "binary":
        return "bce" if objective.zero_one else "bce_logits"
    if objective.task != "classes":
        return "numbers"
    return "nll_of_probabilities" if _sums_to_one(output) else "cross_entropy"


def _misfit(output: Tensor, labels: LabelSchema, why: str) -> ModelError:
    return inference.misfit(tuple(output.shape), labels, why, class_axis=1)


def named(loss: Any, output: Tensor, labels: LabelSchema) -> Objective:
    """Return the loss that the user named, or gave as a callable of (output, target).

    Raises ModelError.
    """
    if callable(loss):
        return _given(loss, output, labels)
    known = _CLASSES.get(str(loss).rpartition(".")[2], str(loss))
    if known not in LOSSES:
        raise ModelError(
            f"no loss is called {loss!r}",
            f"{nearest(known, LOSSES)}there are: {', '.join(LOSSES)}; or name a function of "
            "(output, target)",
            option="loss",
            value=loss,
            allowed=sorted(LOSSES),
        )
    chosen = _named(known, "as named", output)
    _check_shape(chosen, output, labels)
    return chosen


def _given(loss: Any, output: Tensor, labels: LabelSchema) -> Objective:
    """Return the user's callable with its task.

    The task follows from the callable's name, or else from output and labels.
    """
    loss = loss() if isinstance(loss, type) else loss
    name = getattr(loss, "__name__", type(loss).__name__)
    of_function = {function.__name__: known for known, (function, _) in LOSSES.items()}
    known = _CLASSES.get(name) or of_function.get(name)
    task: Task
    if known:
        task = LOSSES[known][1]
    else:
        try:
            task = infer(output, labels).task
        except ModelError:
            task = "own"
    zero_one = known == "bce" or (known is None and _last_operation(output).startswith("Sigmoid"))
    chosen = Objective(name, loss, task, zero_one, "as given")
    if known:
        _check_shape(chosen, output, labels)
    return chosen


def _named(name: str, why: str, output: Tensor | None = None) -> Objective:
    loss, task = LOSSES[name]
    warning = ""
    if name == "nll" and output is not None and not _sums_to_one(output.exp()):
        warning = (
            "warning: the loss nll wants log-probabilities, and the model does not end in "
            "LogSoftmax"
        )
    return Objective(name, loss, task, name == "bce", why, warning)


def _classifier(output: Tensor, last: str) -> Objective:
    if last.startswith("LogSoftmax") or _sums_to_one(output.exp()):
        return _named("nll", "the model ends in LogSoftmax")
    if last.startswith("Softmax") or _sums_to_one(output):
        return _named(
            "nll_of_probabilities",
            "the model ends in Softmax; without it training would be more stable",
        )
    return _named("cross_entropy", "the model ends in logits")


def _binary(output: Tensor, last: str, why: str) -> Objective:
    if last.startswith("Sigmoid"):
        return _named("bce", f"{why}; the model ends in Sigmoid")
    chosen = _named("bce_logits", f"{why}; the model ends in logits")
    if bool(((output > 0) & (output < 1)).all()):
        line = "warning: all outputs lie between 0 and 1; if they are probabilities, say --loss bce"
        return replace(chosen, warning=line)
    return chosen


def _sums_to_one(output: Tensor) -> bool:
    total = output.detach().sum(1)
    return bool((output >= 0).all()) and torch.allclose(total, torch.ones_like(total), atol=1e-3)


def _check_shape(chosen: Objective, output: Tensor, labels: LabelSchema) -> None:
    """Raise ModelError where the loss can't compare these outputs with these labels."""
    if chosen.task == "classes":
        ignored = getattr(chosen.loss, "ignore_index", None)
        if ignored is not None and labels.ndim == 1:
            labels = labels.without(int(ignored))
        if output.ndim < 2 or not labels.are_whole or labels.ndim != output.ndim - 1:
            raise _misfit(
                output,
                labels,
                f"the loss {chosen.name} compares class numbers with one output for each class",
            )
        inference.check_classes(tuple(output.shape), labels, class_axis=1)
    elif not inference.same_size(tuple(output.shape), labels):
        raise _misfit(
            output, labels, f"the loss {chosen.name} wants as many outputs as numbers in each label"
        )


def _last_operation(output: Tensor) -> str:
    """Return the name of the operation that made the output, such as `LogSoftmaxBackward0`.

    Reshapes after it are ignored.
    """
    node = output.grad_fn
    while node is not None and node.name().startswith(_VIEWS) and node.next_functions:
        node = node.next_functions[0][0]
    return node.name() if node is not None else ""
