"""Dynamic averaging: only parties that have drifted send their weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions.local_only import continue_local_training
from fusion_nb.core import arithmetic, seeds
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.protocols import Synchronising
from fusion_nb.core.types import (
    FederationInfo,
    LocalContext,
    NoUpdate,
    Requirements,
    Update,
    Weights,
)


class Dynamic(Synchronising):
    """Let parties train on their own; average those that have drifted, and few others.

    Others are asked for only until they balance those that drifted.

    A party whose squared distance from the last common weights exceeds the threshold sends its
    weights; others are asked one by one until the mean of those asked is within it, and these
    continue from their mean. Where it takes all of them, or where there were as many such reports
    as there are parties, all are averaged, and the mean becomes the new common weights. Parties
    with similar data synchronise less. All parties have the same share.

    Source: Kamp, Adilova, Sicking, Huger, Schlicht, Wirtz, Wrobel, "Efficient Decentralized Deep
    Learning by Dynamic Model Averaging", ECML PKDD 2018 (Algorithm 1).
    """

    not_linear = "lets parties decide by their rows whether they send"
    requires = Requirements(full_participation=True)

    def __init__(
        self,
        *,
        threshold: Annotated[
            float, Field(description="largest squared distance that is no reason to send", ge=0)
        ] = 1.0,
        check_every: Annotated[
            int, Field(description="rounds between two looks at the distance", ge=1)
        ] = 1,
        partial: Annotated[
            bool, Field(description="whether some parties may balance each other")
        ] = True,
    ) -> None:
        self._threshold, self._check_every, self._partial = threshold, check_every, partial

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the state before the first round, a dict with four entries.

        rounds:     rounds so far
        violations: reports above the threshold since all parties were synchronised because there
                    were as many as parties
        balancing:  least and largest number of parties whose mean may stand for all
        balanced:   the mean of some parties that stands for all; empty after a full synchronisation
        """
        return {"rounds": 0, "violations": 0, "balancing": [1, 0], "balanced": {}}

    def local_update(self, context: LocalContext) -> NoUpdate:
        """Continue from the party's own weights.

        The squared distance is reported in rounds in which it is checked.
        """
        weights = continue_local_training(context)
        if context.round % self._check_every:
            return context.no_update()
        return context.no_update(arithmetic.distance(weights, context.weights) ** 2)

    def select_senders(self, reports: Sequence[NoUpdate], state: Any) -> tuple[Sequence[str], Any]:
        """Return the parties that drifted, then all others in a random order.

        There are none where no party drifted.
        """
        drifted = [report.party for report in reports if report.divergence > self._threshold]
        others = sorted({report.party for report in reports} - {*drifted})
        order = seeds.stream(0, "balance", state["rounds"]).permutation(len(others))
        senders = [*drifted, *(others[i] for i in order)] if drifted else []
        violations = state["violations"] + len(drifted)
        is_full = violations >= len(reports)
        most = len(reports) - 1 if self._partial and not is_full else 0
        return senders, {
            "rounds": state["rounds"] + 1,
            "violations": 0 if is_full else violations,
            "balancing": [len(drifted), most],
            "balanced": {},
        }

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the mean of all; or the same weights, where some parties balance each other."""
        least, most = state["balancing"]
        mean = RunningMean()
        for update in updates:
            mean.add(update.weights, 1.0)
            if least <= mean.total <= most:
                balanced = mean.mean()
                if arithmetic.distance(balanced, weights) ** 2 <= self._threshold:
                    return weights, {**state, "balanced": balanced}
        return mean.mean() if mean.total else weights, state

    def after_sync(self, weights: Weights, state: Any) -> Weights:
        """Return the mean of the parties that balance each other, or the new common weights."""
        balanced: Weights = state["balanced"]
        return balanced or weights
