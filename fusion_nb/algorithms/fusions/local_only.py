"""No fusion: every party continues to train its own weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import LocalContext, NoUpdate, Update, Weights, WeightsKind


def continue_local_training(context: LocalContext) -> Weights:
    """Train from the party's own weights, keep the result as its own weights, and return it."""
    result = context.train(context.state.get("weights", context.weights))
    context.state["weights"] = result.weights
    return result.weights


class LocalOnly(Fusion):
    """Let every party train alone: no weights are sent, and the aggregator keeps the first ones."""

    not_linear = "fuses nothing"
    fuses: frozenset[WeightsKind] = frozenset({"numbers", "statistics", "trees"})

    def local_update(self, context: LocalContext) -> NoUpdate:
        """Continue to train the party's own weights."""
        continue_local_training(context)
        return context.no_update()

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights and the state unchanged."""
        return weights, state
