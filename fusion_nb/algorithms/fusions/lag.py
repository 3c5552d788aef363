"""LAG: a party sends its change only if that differs enough from the last one that it sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.server_update import ServerUpdate, trained_change
from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean, tree_map
from fusion_nb.core.types import (
    Answer,
    FederationInfo,
    LocalContext,
    Requirements,
    Update,
    Weights,
)


class LAG(ServerUpdate):
    """Let a party send only a change that differs from the last one that it sent.

    Until then the last one is used again.

    A party sends nothing while the squared distance of its change from the last sent is at most xi
    times the sum of the squared lengths of the fused model's last `memory` moves. Statistics, which
    are averaged anew, are left out of both.

    Source: Chen, Giannakis, Sun, Yin, "LAG: Lazily Aggregated Gradient for Communication-Efficient
    Distributed Learning", NeurIPS 2018 (LAG-WK, condition 15a), with the change of local training
    for a gradient step. The paper sums over parties where here is a mean, so that its division by
    their squared number is left out.
    """

    not_linear = "lets parties decide by their rows whether they send"
    requires = Requirements(full_participation=True, no_update_allowed=True)

    def __init__(
        self,
        *,
        xi: Annotated[float, Field(description="larger is lazier; 0 sends always", ge=0)] = 0.1,
        memory: Annotated[int, Field(description="moves of the fused model that count", ge=1)] = 10,
    ) -> None:
        self._xi, self._memory = xi, memory

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return each party's last change with its number of rows: none yet."""
        return {**super().init(weights, info), "changes": {}}

    def local_update(self, context: LocalContext) -> Answer:
        """Train, and send the weights if their change differs enough from the last one sent."""
        moves = self._moves(context)
        result = context.train(context.weights)
        change = trained_change(result.weights, context.weights, context.info.trained)
        last = context.state.get("sent")
        if last is not None:
            difference = arithmetic.squared_norm(tree_map(np.subtract, change, last))
            if difference <= self._xi * sum(moves):
                return context.no_update(difference)
        context.state["sent"] = change
        return context.update(result.weights)

    def _moves(self, context: LocalContext) -> list[float]:
        """Return the squared lengths of the fused model's last moves, and keep them."""
        seen = context.state.get("seen")
        moves: list[float] = context.state.get("moves", [])
        if seen is not None:
            move = trained_change(context.weights, seen, context.info.trained)
            moves = [*moves, arithmetic.squared_norm(move)][-self._memory :]
        context.state["seen"], context.state["moves"] = context.weights, moves
        return moves

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights moved by the mean of every party's last change.

        The mean is weighted by the parties' rows.
        """
        mean, changes = RunningMean(), dict(state["changes"])
        for update in updates:
            mean.add(update.weights, update.num_examples)
            change = trained_change(update.weights, weights, state["trained"])
            changes[update.party] = {"num_examples": update.num_examples, "change": change}
        if not changes:
            return weights, state
        step = RunningMean()
        for party in sorted(changes):
            step.add(changes[party]["change"], changes[party]["num_examples"])
        average = mean.mean() if mean.total else weights
        moved = arithmetic.moved(weights, step.mean())
        return average | moved, {**state, "changes": changes}
