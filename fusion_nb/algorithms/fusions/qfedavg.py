"""Fusion that cares for the parties with the largest loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions.server_update import Stepping, each, travel
from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.types import Turn, Update, Weights


class QFedAvg(Stepping):
    """Let parties count by the q-th power of the loss that the fused model has on their rows, so
    that all end alike.

    With q 0 every party counts the same, and it is iter_avg. Costs a pass over a party's training
    rows in each round.

    Source: Li, Sanjabi, Beirami, Smith, "Fair Resource Allocation in Federated Learning", ICLR 2020
    (Algorithm 2, with 1 / lr of local training for the Lipschitz constant, as there).
    """

    def __init__(
        self,
        *,
        q: Annotated[float, Field(description="0 ignores losses, larger is fairer", ge=0)] = 1.0,
    ) -> None:
        self._q = q

    def train(self, turn: Turn) -> Update:
        """Train, and report the loss before, and the learning rate."""
        loss = turn.measure(turn.weights)["loss"]
        trained = turn.train(turn.weights)
        return turn.update(
            trained.weights, loss=loss, lr=travel(trained) / max(1, trained.num_steps)
        )

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the weights moved by the sum of F**q * change / lr over the sum of the curvatures
        h.
        """
        mean, total, curvature = RunningMean(), self.zeros(weights), 0.0
        for update in updates:
            # A loss of 0 would count for nothing at all, and its negative power be infinite.
            loss, lr = max(update.extras["loss"], 1e-10), update.extras["lr"]
            mean.add(update.weights, 1.0)
            gradient = each(lambda c, lr=lr: c / lr, self.change(update.weights, weights))
            total = each(lambda t, g, f=loss: t + f**self._q * g, total, gradient)
            curvature += (
                self._q * loss ** (self._q - 1) * arithmetic.squared_norm(gradient)
                + loss**self._q / lr
            )
        if not mean.total:
            return weights, state
        return mean.mean() | arithmetic.moved(weights, each(lambda t: t / curvature, total)), state
