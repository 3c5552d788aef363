"""q-FedAvg: a larger share for the parties with the largest loss."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions.server_update import (
    ServerUpdate,
    effective_step_size,
    trained_change,
    trained_zeros,
)
from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean, tree_map
from fusion_nb.core.types import FederationInfo, LocalContext, Update, Weights


class QFedAvg(ServerUpdate):
    """Weigh parties by the q-th power of the fused model's loss on their rows.

    The losses of all parties become more equal by this.

    With q 0 all parties have the same share, and it is iter_avg. Costs one evaluation of a party's
    training rows in each round.

    Source: Li, Sanjabi, Beirami, Smith, "Fair Resource Allocation in Federated Learning", ICLR 2020
    (Algorithm 2, with 1 / lr of local training for the Lipschitz constant, as there).
    """

    not_linear = "sends losses beside the weights, and weights parties by them"
    adds_up = True
    equal_shares = True

    def __init__(
        self,
        *,
        q: Annotated[float, Field(description="0 ignores losses, larger is fairer", ge=0)] = 1.0,
    ) -> None:
        self._q = q
        self.averages = False

    def local_update(self, context: LocalContext) -> Update:
        """Train, and report the loss before training and the learning rate."""
        loss = context.evaluate_train(context.weights)["loss"]
        result = context.train(context.weights)
        lr = effective_step_size(result) / max(1, result.num_steps)
        return context.update(result.weights, loss=loss, lr=lr)

    def summand(self, update: Update, weights: Weights, info: FederationInfo) -> Update:
        """Return the update with the two terms that it adds to sums, in place of its loss."""
        gradient, curvature = self._terms(update, weights, info.trained)
        return replace(update, extras={"gradient": gradient, "curvature": curvature})

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights moved by the sum of F**q * change / lr over the curvatures h."""
        trained = state["trained"]
        mean, total, curvature = RunningMean(), trained_zeros(weights, trained), 0.0
        for update in updates:
            mean.add(update.weights, float(update.num_parties))
            if "gradient" in update.extras:
                gradient, bend = update.extras["gradient"], update.extras["curvature"]
            else:
                gradient, bend = self._terms(update, weights, trained)
            count = update.num_parties
            total = tree_map(lambda t, g, n=count: t + n * g, total, gradient)
            curvature += count * bend
        if not mean.total:
            return weights, state
        step = tree_map(lambda t: t / curvature, total)
        return mean.mean() | arithmetic.moved(weights, step), state

    def _terms(
        self, update: Update, weights: Weights, trained: Collection[str]
    ) -> tuple[Weights, float]:
        """Return F**q * change / lr, and the curvature h."""
        # A loss of 0 would give a party no share at all, and its negative power be infinite.
        loss, lr, q = max(update.extras["loss"], 1e-10), update.extras["lr"], self._q
        change = trained_change(update.weights, weights, trained)
        gradient = tree_map(lambda c: c / lr, change)
        bend = q * loss ** (q - 1) * arithmetic.squared_norm(gradient) + loss**q / lr
        return tree_map(lambda g: loss**q * g, gradient), bend
