"""The loss and the metrics of one batch."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fusion_nb.errors import ModelError
from fusion_nb.models.torch.copying.binding import Binder
from fusion_nb.models.torch.copying.loss_state import fresh
from fusion_nb.models.torch.forward import Forward
from fusion_nb.models.torch.losses import Objective
from fusion_nb.models.torch.objectives.batch_metrics import BatchMetrics
from fusion_nb.models.torch.precision import Precision
from fusion_nb.models.torch.trees import num_rows

#: Names of a parameter of weights that may be left out.
_WEIGHTS = ("weight", "weights", "w", "sample_weight")


class Step(ABC):
    """How a batch becomes a loss to train by, and metrics."""

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """The metrics that `measure` returns, the monitored one first."""

    @abstractmethod
    def loss(self, module: nn.Module, x: Any, y: Any) -> Tensor:
        """Return the loss of a batch."""

    @abstractmethod
    def measure(self, module: nn.Module, x: Any, y: Any) -> BatchMetrics:
        """Return the metrics of a batch."""

    @abstractmethod
    def bound(self, binder: Binder) -> Step:
        """Return this step for a copy of the module, in the module's own precision."""

    @abstractmethod
    def fresh(self, module: nn.Module) -> Step:
        """Return this step with a copy of a loss that may change itself."""

    @property
    @abstractmethod
    def computes(self) -> Any:
        """The object that computes the loss."""

    def per_row(self, loss: Tensor, num_rows: int) -> Tensor:
        """Return a batch's loss as the mean over its rows, also where it was summed."""
        return loss


@dataclass(frozen=True)
class OutputStep(Step):
    """Compares a module's outputs with the labels.

    forward: how the module is called;  objective: the loss
    """

    forward: Forward
    objective: Objective

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objective's metrics."""
        return self.objective.metrics

    def loss(self, module: nn.Module, x: Any, y: Any) -> Tensor:
        """Return the loss of a batch."""
        output = self.forward(module, x)
        return self.objective.train_loss(output, self.objective.target(y, output))

    def measure(self, module: nn.Module, x: Any, y: Any) -> BatchMetrics:
        """Return the metrics of a batch."""
        output = self.forward(module, x)
        return self.objective.measure(output, self.objective.target(y, output))

    def per_row(self, loss: Tensor, num_rows: int) -> Tensor:
        """Return a batch's loss as the mean over its rows, also where it was summed."""
        return self.objective.per_row(loss, num_rows)

    def bound(self, binder: Binder) -> OutputStep:
        """Return this step for a copy of the module, in the module's own precision."""
        objective = replace(self.objective, loss=binder.bound(self.objective.loss))
        return OutputStep(self.forward.exact, objective)

    def fresh(self, module: nn.Module) -> OutputStep:
        """Return this step with a copy of a loss that may change itself."""
        loss = fresh(self.objective.loss, module)
        return replace(self, objective=replace(self.objective, loss=loss))

    @property
    def computes(self) -> Any:
        """The object that computes the loss."""
        return self.objective.loss


@dataclass(frozen=True)
class OwnStep(Step):
    """Computes a loss that the user wrote for a module's whole output or for a whole batch.

    function: of (module, x, y);  precision: of what it computes
    needs_gradients: whether it computes gradients itself, in evaluation too
    """

    function: Callable[[nn.Module, Any, Any], Tensor]
    precision: Precision
    needs_gradients: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """The loss alone."""
        return ("loss",)

    def loss(self, module: nn.Module, x: Any, y: Any) -> Tensor:
        """Return the loss of a batch."""
        with self.precision.context():
            return self.function(module, x, y)

    def measure(self, module: nn.Module, x: Any, y: Any) -> BatchMetrics:
        """Return the loss of a batch as its only metric."""
        with torch.set_grad_enabled(self.needs_gradients):
            loss = float(self.loss(module, x, y).detach())
        return BatchMetrics.of_rows({"loss": loss}, num_rows(x))

    def bound(self, binder: Binder) -> OwnStep:
        """Return this step for a copy of the module, in the module's own precision."""
        function, exact = binder.bound(self.function), self.precision.exact
        return replace(self, function=function, precision=exact)

    def fresh(self, module: nn.Module) -> OwnStep:
        """Return this step with a copy of a loss that may change itself."""
        return replace(self, function=fresh(self.function, module))

    @property
    def computes(self) -> Any:
        """The object that computes the loss."""
        return self.function


@dataclass(frozen=True)
class OfBatch:
    """A loss of (module, batch)."""

    loss: Callable[[nn.Module, Any], Tensor]

    def __call__(self, module: nn.Module, x: Any, y: Any) -> Tensor:
        """Return the loss of a whole batch."""
        return self.loss(module, x)


@dataclass(frozen=True)
class OfWeighted:
    """A loss of (output, target, weight)."""

    forward: Forward
    loss: Callable[[Any, Any, Any], Tensor]

    def __call__(self, module: nn.Module, x: Any, y: Any) -> Tensor:
        """Return the loss of a batch whose labels come with weights."""
        return self.loss(self.forward(module, x), *y)


@dataclass(frozen=True)
class OfOutputs:
    """A loss of (all that the model returns, target)."""

    forward: Forward
    loss: Callable[[Any, Any], Tensor]

    def __call__(self, module: nn.Module, x: Any, y: Any) -> Tensor:
        """Return the loss of a batch."""
        return self.loss(self.forward.returned(module, x), y)


@dataclass(frozen=True)
class OfTrainingStep:
    """A module's own `training_step(batch, batch_idx)`, as a LightningModule has it."""

    def __call__(self, module: nn.Module, x: Any, y: Any) -> Tensor:
        """Return the loss that it returns. Raises ModelError where it returns none."""
        function: Any = module.training_step
        found = function(*[x, 0][: num_positional(function, 2)])
        found = found.get("loss") if isinstance(found, dict) else found
        if not isinstance(found, Tensor):
            raise ModelError(
                f"training_step of {type(module).__name__} returns no loss",
                "return the loss, or a dict with 'loss'; or name a loss for forward()",
            )
        loss: Tensor = found
        return loss


def has_training_step(module: nn.Module) -> bool:
    """Return whether a module computes its own loss, as a LightningModule does."""
    return callable(getattr(module, "training_step", None))


def takes_batch(loss: Any) -> bool:
    """Return whether a loss is a function of (module, batch), by the names of its parameters.

    An annotation of the first as `nn.Module` says so, too.
    """
    if not callable(loss) or isinstance(loss, type):
        return False
    try:
        named = list(inspect.signature(loss).parameters.values())
    except (TypeError, ValueError):
        return False
    if len(named) < 2 or any(p.default is p.empty for p in named[2:] if p.kind < 2):
        return False
    kind = named[0].annotation
    is_module = isinstance(kind, type) and issubclass(kind, nn.Module)
    is_module = is_module or str(kind).rpartition(".")[2] == "Module"
    return is_module or (named[0].name in ("module", "model") and named[1].name == "batch")


def takes_weight(loss: Any) -> bool:
    """Return whether a loss is a function of (output, target, weight).

    The `weight` of torch's own losses is one of classes, not of rows.
    """
    if not callable(loss) or isinstance(loss, type):
        return False
    if str(getattr(loss, "__module__", "")).partition(".")[0] == "torch":
        return False
    try:
        named = [p for p in inspect.signature(loss).parameters.values() if p.kind < p.KEYWORD_ONLY]
    except (TypeError, ValueError):
        return False
    if any(p.kind == p.VAR_POSITIONAL for p in named):
        return True
    needed = sum(p.default is p.empty for p in named)
    return needed == 3 or (needed == 2 and len(named) == 3 and named[2].name in _WEIGHTS)


def num_positional(function: Any, most: int) -> int:
    """Return how many arguments a function takes by position, or `most` where it takes more."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return most
    for count in range(most, 0, -1):
        try:
            signature.bind(*[None] * count)
            return count
        except TypeError:
            continue
    return most
