"""The loss and the metrics of one batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor, nn

from fusion_nb.core.types import Metrics
from fusion_nb.models.torch.copying.binding import Binder
from fusion_nb.models.torch.forward import Forward
from fusion_nb.models.torch.losses import Objective


@dataclass(frozen=True)
class OutputStep:
    """Compares a module's outputs with the labels.

    forward: how the module is called;  objective: the loss
    """

    forward: Forward
    objective: Objective

    def loss(self, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of a batch."""
        output = self.forward(module, x)
        return self.objective.loss(output, self.objective.target(y, output))

    def measure(self, module: nn.Module, x: Tensor, y: Tensor) -> Metrics:
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
