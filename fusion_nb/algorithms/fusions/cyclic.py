"""Cyclic training: the model travels from one party to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import (
    Answer,
    FederationInfo,
    LocalContext,
    Requirements,
    Update,
    Weights,
    WeightsKind,
)


class Cyclic(Fusion):
    """Let one party train in each round, and the next one continue from its weights.

    No weights are averaged, so that it suits models of any kind that is trained in steps, trees
    among them. A party that fails in its round is left out until its next turn.

    Source: cyclical weight transfer of Chang et al., "Distributed deep learning networks among
    institutions for medical imaging", JAMIA 2018.
    """

    not_linear = "passes the weights of one party to the next"
    requires = Requirements(full_participation=True, no_update_allowed=True)
    fuses: frozenset[WeightsKind] = frozenset({"numbers", "trees"})

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the parties in order, and the number of the one whose turn it is."""
        return {"parties": list(info.parties), "turn": 0}

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return the party whose turn it is."""
        parties = state["parties"]
        return {"party": parties[state["turn"] % len(parties)] if parties else ""}

    def local_update(self, context: LocalContext) -> Answer:
        """Train where it is the party's turn, and do nothing elsewhere."""
        if context.party != context.broadcast["party"]:
            return context.no_update()
        return context.update(context.train(context.weights).weights)

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights of the party that trained."""
        for update in updates:
            weights = update.weights
        return weights, {**state, "turn": state["turn"] + 1}
