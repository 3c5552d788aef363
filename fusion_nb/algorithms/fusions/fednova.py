"""FedNova: the mean of normalized changes, for parties that take different numbers of steps."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from fusion_nb.algorithms.fusions.server_update import (
    ServerUpdate,
    effective_step_size,
    trained_change,
)
from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean, tree_map
from fusion_nb.core.types import FederationInfo, LocalContext, Requirements, Update, Weights


class FedNova(ServerUpdate):
    """Average the parties' changes per step, so that parties with more steps do not dominate.

    With equal work it is fedavg. Momentum is accounted for: a change is divided by the effective
    step size and not by the number of steps.

    Source: Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in
    Heterogeneous Federated Optimization", NeurIPS 2020.
    """

    not_linear = "sends step sizes beside the weights, and divides each party's change by its own"
    adds_up = True
    requires = Requirements(uses_partial_work=True, effective_step_size=True)

    def local_update(self, context: LocalContext) -> Update:
        """Train, and report the effective step size."""
        result = context.train(context.weights)
        return context.update(result.weights, step_size=effective_step_size(result))

    def summand(self, update: Update, weights: Weights, info: FederationInfo) -> Update:
        """Return the update with its change per step size."""
        per_step = _per_step(update, weights, info.trained)
        return replace(update, extras={**update.extras, "per_step": per_step})

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights moved by the mean step size times the mean change per step size."""
        mean, normalized, total = RunningMean(), RunningMean(), 0.0
        for update in updates:
            mean.add(update.weights, update.num_examples)
            per_step = update.extras.get("per_step") or _per_step(update, weights, state["trained"])
            normalized.add(per_step, update.num_examples)
            total += update.num_examples * update.extras["step_size"]
        if not mean.total:
            return weights, state
        step = tree_map(lambda d: d * total / mean.total, normalized.mean())
        return mean.mean() | arithmetic.moved(weights, step), state


def _per_step(update: Update, weights: Weights, trained: Collection[str]) -> Weights:
    step_size = update.extras["step_size"]
    return tree_map(lambda d: d / step_size, trained_change(update.weights, weights, trained))
