"""No fusion at all: every party trains on from its own weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fusion_nb.core.types import Turn, Unchanged, Update, Weights


def go_on(turn: Turn) -> Weights:
    """Train from where the party is, keep where that leads, and return it."""
    trained = turn.train(turn.state.get("weights", turn.weights))
    turn.state["weights"] = trained.weights
    return trained.weights


class Alone:
    """Let every party train alone: nothing travels, and the aggregator keeps the first weights."""

    local: Mapping[str, Any] = {}

    def init(self, weights: Weights) -> Any:
        """Return the state, of which there is none."""
        return None

    def train(self, turn: Turn) -> Unchanged:
        """Train on from the party's own weights."""
        go_on(turn)
        return turn.unchanged()

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the weights as they are."""
        return weights, state
