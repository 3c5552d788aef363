"""Parties that have nothing worth sending stay silent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.server_update import Averaging, Stepping, each
from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.types import Turn, Unchanged, Update, Weights


class LAG(Stepping):
    """Let a party send only a change that differs from the last one that it sent; till then that
    one counts again.

    A party stays silent while the squared distance of its change from the last sent is at most xi
    times the sum of the squared lengths of the fused model's last `memory` moves. Statistics, which
    are averaged anew, have no part in it.

    Source: Chen, Giannakis, Sun, Yin, "LAG: Lazily Aggregated Gradient for Communication-Efficient
    Distributed Learning", NeurIPS 2018 (LAG-WK, condition 15a), with the change of local training
    for a gradient step. The paper sums over parties where here is a mean, so that its division by
    their squared number is left out.
    """

    everyone = True
    may_be_silent = True

    def __init__(
        self,
        *,
        xi: Annotated[float, Field(description="larger is lazier; 0 sends always", ge=0)] = 0.1,
        memory: Annotated[int, Field(description="moves of the fused model that count", ge=1)] = 10,
    ) -> None:
        self._xi, self._memory = xi, memory

    def init(self, weights: Weights) -> Any:
        """Return each party's last change with its number of rows: none yet."""
        return {}

    def train(self, turn: Turn) -> Update | Unchanged:
        """Train, and send the weights if their change is news."""
        moves = self._moves(turn)
        trained = turn.train(turn.weights)
        change = self.change(trained.weights, turn.weights)
        last = turn.state.get("sent")
        if last is not None:
            difference = arithmetic.squared_norm(each(np.subtract, change, last))
            if difference <= self._xi * sum(moves):
                return turn.unchanged(difference)
        turn.state["sent"] = change
        return turn.update(trained.weights)

    def _moves(self, turn: Turn) -> list[float]:
        """Return the squared lengths of the fused model's last moves, and keep them."""
        seen = turn.state.get("seen")
        moves: list[float] = turn.state.get("moves", [])
        if seen is not None:
            moves = [*moves, arithmetic.squared_norm(self.change(turn.weights, seen))][
                -self._memory :
            ]
        turn.state["seen"], turn.state["moves"] = turn.weights, moves
        return moves

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the weights moved by the mean of every party's last change, weighted by their
        rows.
        """
        mean, changes = RunningMean(), dict(state)
        for update in updates:
            mean.add(update.weights, update.num_examples)
            changes[update.party] = (update.num_examples, self.change(update.weights, weights))
        if not changes:
            return weights, state
        step = RunningMean()
        for party in sorted(changes):
            step.add(changes[party][1], changes[party][0])
        fused = mean.mean() if mean.total else weights
        return fused | arithmetic.moved(weights, step.mean()), changes


class CMFL(Averaging, Stepping):
    """Let a party send only if enough of its change points where the fused model moved last.

    Relevance is the share of the trained weights whose change has the sign of the fused model's
    last change; where both are 0 they agree. Frozen weights and statistics have no part in it.

    Source: Wang, Wang, Li, "CMFL: Mitigating Communication Overhead for Federated Learning", ICDCS
    2019.
    """

    may_be_silent = True

    def __init__(
        self,
        *,
        threshold: Annotated[
            float, Field(description="least relevance of what is sent; 0 sends always", ge=0, le=1)
        ] = 0.5,
        decay: Annotated[
            bool,
            Field(
                description="divide the threshold by the root of the round's number, as the "
                "paper's proof"
            ),
        ] = False,
    ) -> None:
        self._threshold, self._decay = threshold, decay
        self.local: Mapping[str, Any] = {}

    def train(self, turn: Turn) -> Update | Unchanged:
        """Train, and send the weights if their change is relevant."""
        seen, way = turn.state.get("seen"), turn.state.get("way")
        if seen is not None and not arithmetic.equal(seen, turn.weights):
            way = each(np.sign, self.change(turn.weights, seen))
            turn.state["way"] = each(lambda sign: sign.astype(np.int8), way)
        turn.state["seen"] = turn.weights
        trained = turn.train(turn.weights)
        if way is None:
            return turn.update(trained.weights)
        signs = each(np.sign, self.change(trained.weights, turn.weights))
        agreeing = sum(int((signs[name] == way[name]).sum()) for name in way)
        relevance = agreeing / max(1, sum(array.size for array in way.values()))
        threshold = self._threshold / (np.sqrt(turn.round) if self._decay else 1.0)
        return (
            turn.update(trained.weights)
            if relevance >= threshold
            else turn.unchanged(1 - relevance)
        )
