"""An objective: a loss, the targets that it compares outputs with, and the metrics beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from fusion_nb.core.arithmetic import exponential
from fusion_nb.models.inference import Task
from fusion_nb.models.torch.objectives.batch_metrics import BatchMetrics
from fusion_nb.models.torch.objectives.class_weights import ClassWeights
from fusion_nb.models.torch.objectives.loss_names import CountedLoss, known_name, setting
from fusion_nb.models.torch.objectives.targets import Targets


@dataclass(frozen=True)
class Objective:
    """A loss, and the form of target that it takes.

    task:     "classes" (one of several), "binary" (yes or no for each output), "numbers", or "own"
              for a callable that alone can interpret the shapes of its outputs and labels
    zero_one: binary outputs are probabilities, not logits
    why:      how it was chosen;  warning: a doubt that the user should look at, or ""
    remark:   more about the loss, as a sentence for the user, or ""
    targets:  how labels are given to the loss
    has_accuracy: False for yes or no where labels are shares of a yes, such as pixels
    weights: of classes in training, or None
    of_tokens: whether each place of a row is a token
    """

    name: str
    loss: Callable[..., Tensor]
    task: Task
    zero_one: bool = False
    why: str = ""
    warning: str = ""
    remark: str = ""
    targets: Targets = field(default_factory=Targets)
    has_accuracy: bool = True
    weights: ClassWeights | None = None
    of_tokens: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that go with the task, the monitored one first."""
        if self.of_tokens:
            return ("perplexity", "token_accuracy", "loss")
        if self.task in ("classes", "binary"):
            return ("accuracy", "loss") if self.has_accuracy else ("loss",)
        if self.task == "own":
            return ("loss",)
        return ("loss", "mae") if self.name == "mse" else ("loss", "mse", "mae")

    def target(self, y: Tensor, output: Tensor) -> Tensor:
        """Return labels in the type and shape that the loss compares with such an output."""
        return self.targets.of(y, output)

    def train_loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch in training, where classes may have weights."""
        if self.weights is not None:
            return self.weights.loss(self.loss, self.targets, output, target)
        return self.loss(output, target)

    def per_row(self, loss: Tensor, num_rows: int) -> Tensor:
        """Return a batch's loss as the mean over its rows, also where it was summed."""
        return loss / num_rows if setting(self.loss, "reduction", "mean") == "sum" else loss

    def measure(self, output: Tensor, target: Tensor) -> BatchMetrics:
        """Return the metrics of one batch: means over its rows, or over the labels that count."""
        num_rows = len(output)
        found = {"loss": float(self.per_row(self.loss(output, target), num_rows))}
        counts: dict[str, float] = {"loss": self._loss_count(target, num_rows)}
        if self.task == "numbers":
            error = (
                (output - target.reshape(output.shape)).cpu().double()
            )  # on the CPU, as not every device has float64
            known = {"mse": float((error**2).mean()), "mae": float(error.abs().mean())}
            found |= {name: known[name] for name in self.metrics if name in known}
        elif self._accuracy in self.metrics:
            right = self._right(output, target)
            found[self._accuracy] = float(right.cpu().double().mean()) if right.numel() else 0.0
            if self.targets.ignored is not None:
                counts[self._accuracy] = right.numel()
        if self.of_tokens:
            found["perplexity"], counts["perplexity"] = exponential(found["loss"]), counts["loss"]
        return BatchMetrics(found, {name: counts.get(name, num_rows) for name in found})

    @property
    def _accuracy(self) -> str:
        return "token_accuracy" if self.of_tokens else "accuracy"

    def notes(self) -> list[str]:
        """Return how the loss was chosen, and more about it, as sentences for the user."""
        notes = [f"loss: {self.name} ({self.why})", self.remark, self.warning]
        return [note for note in notes if note]

    def _right(self, output: Tensor, target: Tensor) -> Tensor:
        """Return whether each prediction that counts is right."""
        if self.task == "binary":
            says_yes = output > (0.5 if self.zero_one else 0.0)
            return says_yes == (target.reshape(output.shape) > 0.5)
        classes = self.targets.classes(target, output)
        right = output.argmax(1) == classes
        return right if self.targets.ignored is None else right[self.targets.counted(classes)]

    def _loss_count(self, target: Tensor, num_rows: int) -> float:
        """Return the number that a batch's loss is a mean over: rows, places, or class weights."""
        weight = setting(self.loss, "weight") if self._averages_classes else None
        is_counted = isinstance(self.loss, CountedLoss)
        if setting(self.loss, "reduction", "mean") != "mean" or not (
            is_counted or weight is not None
        ):
            return num_rows
        counted = target[self.targets.counted(target)]
        return counted.numel() if weight is None else float(weight[counted].sum())

    @property
    def _averages_classes(self) -> bool:
        return self.targets.kind == "classes" and known_name(self.loss) in ("cross_entropy", "nll")
