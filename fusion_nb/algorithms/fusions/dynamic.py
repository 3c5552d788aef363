"""Aggregation only when necessary: parties go on with their own weights until they have drifted too
far apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions import fda_monitors
from fusion_nb.algorithms.fusions.local_only import go_on
from fusion_nb.core import arithmetic, seeds
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.types import Turn, Unchanged, Update, Weights


@dataclass(frozen=True)
class Balance:
    """What the aggregator knows in a round: who broke its condition, and what those who sent their
    weights go on from.

    rounds:    rounds so far
    broken:    how often a party broke its condition since all were synchronised for breaking it as
               often as there are parties
    balances:  of how many parties the mean may stand in for all
    balanced:  the mean of some parties that stands in for all, or None after a full synchronisation
    """

    rounds: int = 0
    broken: int = 0
    balances: range = range(0)
    balanced: Weights | None = None


class Dynamic:
    """Let parties train on their own, and average only those that drifted, and as few others as
    bring them back.

    A party whose squared distance from the last common weights exceeds the threshold sends its
    weights; others are asked one by one until the mean of those asked is within it, and these go on
    from their mean. Where it takes all of them, or where there were as many such reports as there
    are parties, all are averaged, and the mean becomes the new common weights. Parties with similar
    data synchronise less. All parties count the same.

    Source: Kamp, Adilova, Sicking, Huger, Schlicht, Wirtz, Wrobel, "Efficient Decentralized Deep
    Learning by Dynamic Model Averaging", ECML PKDD 2018 (Algorithm 1).
    """

    local: Mapping[str, Any] = {}
    everyone = True

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

    def init(self, weights: Weights) -> Any:
        """Return the state before the first round."""
        return Balance()

    def train(self, turn: Turn) -> Unchanged:
        """Train on from the party's own weights, and report the squared distance where it is time
        to look.
        """
        trained = go_on(turn)
        if turn.round % self._check_every:
            return turn.unchanged()
        return turn.unchanged(arithmetic.distance(trained, turn.weights) ** 2)

    def asks(self, reports: Sequence[Unchanged], state: Any) -> tuple[Sequence[str], Any]:
        """Return the parties that drifted, then all others in a random order; nobody where none
        did.
        """
        drifted = [report.party for report in reports if report.divergence > self._threshold]
        others = sorted({report.party for report in reports} - {*drifted})
        order = seeds.stream(0, "balance", state.rounds).permutation(len(others))
        asked = [*drifted, *(others[i] for i in order)] if drifted else []
        broken = state.broken + len(drifted)
        if broken >= len(reports):
            return asked, Balance(state.rounds + 1)
        return asked, Balance(
            state.rounds + 1, broken, range(len(drifted), len(reports) if self._partial else 0)
        )

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the mean of all, or the weights as they are where fewer parties balance each
        other.
        """
        mean = RunningMean()
        for update in updates:
            mean.add(update.weights, 1.0)
            if mean.total in state.balances:
                balanced = mean.mean()
                if arithmetic.distance(balanced, weights) ** 2 <= self._threshold:
                    return weights, replace(state, balanced=balanced)
        return mean.mean() if mean.total else weights, state

    def adopt(self, weights: Weights, state: Any) -> Weights:
        """Return the mean of those who balance each other, or else the new common weights."""
        return weights if state.balanced is None else state.balanced


class FDA:
    """Let parties train on their own, and average all of them once an estimate of their variance
    exceeds theta.

    In every round each party reports a few numbers: the squared length of its drift since the last
    synchronisation and, but for the monitor `naive`, a small picture of its direction. From these
    follows an upper estimate of the variance (mean squared distance from the mean), which `naive`
    makes crudely, `linear` by one direction, `sketch` best. All parties count the same. Threshold
    by model: about 1e-5 to 1e-4 times the number of its weights.

    Source: Theologitis, Frangias, Anestis, Samoladas, Deligiannakis, "Communication-Efficient
    Distributed Deep Learning via Federated Dynamic Averaging", EDBT 2025.
    """

    local: Mapping[str, Any] = {}
    everyone = True

    def __init__(
        self,
        *,
        theta: Annotated[
            float, Field(description="variance that is no reason to synchronise", ge=0)
        ] = 1.0,
        monitor: Annotated[str, Field(description="naive, linear or sketch")] = "linear",
    ) -> None:
        self._theta, self._monitor = theta, fda_monitors.named(monitor)

    def init(self, weights: Weights) -> Any:
        """Return the state, of which there is none."""
        return None

    def train(self, turn: Turn) -> Unchanged:
        """Train on from the party's own weights, and report its drift in a few numbers."""
        self._monitor.renew(turn)
        drift = arithmetic.change(go_on(turn), turn.weights)
        report = self._monitor.report(turn.state, drift)
        return turn.unchanged(float(report[0]), drift=report)

    def asks(self, reports: Sequence[Unchanged], state: Any) -> tuple[Sequence[str], Any]:
        """Return all parties where the estimate exceeds theta, and else nobody."""
        mean = sum(report.extras["drift"] for report in reports) / max(1, len(reports))
        violated = bool(reports) and self._monitor.estimate(mean) > self._theta
        return [report.party for report in reports] if violated else [], state

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the mean of all parties, or the weights as they are where nobody was asked."""
        mean = RunningMean()
        for update in updates:
            mean.add(update.weights, 1.0)
        return mean.mean() if mean.total else weights, state

    def adopt(self, weights: Weights, state: Any) -> Weights:
        """Return the new common weights."""
        return weights
