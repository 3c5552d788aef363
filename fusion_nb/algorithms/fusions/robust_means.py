"""Rules that stand hostile parties: what a few of them send, whatever it is, moves the result only
so far.

A party's number of rows is only its claim, so in all of them every party counts the same.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions import update_matrix as table
from fusion_nb.core.types import Update, Weights
from fusion_nb.errors import DivergedError, PartyError

#: How far beta times the parties may fall short of a whole number because 0.1 is none in binary.
_ROUNDING = 1e-9
#: Part of itself by which the sum of distances must fall for Weiszfeld's algorithm to go on.
_TOLERANCE = 1e-6
#: Keeps a distance that is not looked at from dividing by zero.
_TINY = 1e-300


class Robust(ABC):
    """Needs all updates of a round at once; a base of rules that do.

    Whole numbers and booleans are the median of the parties' where a rule says nothing else: they
    have no part in distances.
    """

    local: Mapping[str, Any] = {}
    min_updates = 1
    #: What messages call it.
    name = ""

    def init(self, weights: Weights) -> Any:
        """Return the state, of which there is none."""
        return None

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return what the rule makes of all updates.

        Raises PartyError where there are fewer than it needs: with those it would stand nothing
        that it promises.
        """
        # In the order of names, so that neither sums nor ties depend on who answered first.
        found = sorted(updates, key=lambda update: update.party)
        if len(found) < self.min_updates:
            line = (
                f"{self.name} needs the updates of {self.min_updates} parties in a round, and "
                f"got {len(found)}"
            )
            raise PartyError(
                line,
                "use more parties, a larger --fraction or --quorum, or other numbers for the rule",
            )
        return self.rule(weights, found, state)

    @abstractmethod
    def rule(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return the new weights and the new state; the updates are in the order of the parties'
        names.
        """


class Median(Robust):
    """Take the median of each number; of an even number of parties, the mean of the two in the
    middle.

    Source: Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards
    Optimal Statistical Rates", ICML 2018 (Option I).
    """

    name = "median"

    def rule(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return the medians."""
        return table.each_column(updates, _median), state


class TrimmedMean(Robust):
    """Average each number over what is left when the largest and the smallest are cut off, a share
    beta of each.

    The number cut off at each end is beta times the parties, rounded down. It stands that many
    hostile parties, so it needs enough answers to cut off one. With beta 0 it is iter_avg.

    Source: Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards
    Optimal Statistical Rates", ICML 2018 (Option II).
    """

    name = "trimmed_mean"

    def __init__(
        self,
        *,
        beta: Annotated[
            float,
            Field(description="share that is cut off at each end; 0 is the mean", ge=0, lt=0.5),
        ] = 0.25,
    ) -> None:
        self._beta = beta
        self.min_updates = math.ceil((1 - _ROUNDING) / beta) if beta else 1

    def rule(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return the means of the middle."""
        cut = _cut(self._beta, len(updates))

        def middle(block: np.ndarray) -> np.ndarray:
            return np.asarray(np.sort(block, axis=0)[cut : len(block) - cut].mean(axis=0))

        return table.each_column(updates, middle), state


class GeometricMedian(Robust):
    """Take the point from which the sum of the distances to all parties' weights is least.

    Found by the smoothed Weiszfeld algorithm: means in which a party counts 1 / max(nu, distance
    from the last mean), until the sum of the distances hardly falls. The first distances are from
    the weights of the round before, which no hostile party chose; nobody counts more then than who
    is at the middle one, since from a party's own place it takes long to get away.

    Source: Pillutla, Kakade, Harchaoui, "Robust Aggregation for Federated Learning", IEEE
    Transactions on Signal Processing 2022.
    """

    name = "geometric_median"

    def __init__(
        self,
        *,
        nu: Annotated[
            float, Field(description="distance below which nearer counts no more", gt=0)
        ] = 1e-6,
        iterations: Annotated[int, Field(description="means to take at most", ge=1)] = 100,
    ) -> None:
        self._nu, self._iterations = nu, iterations

    def rule(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return the weights moved to the geometric median."""
        near, products = _near(table.products(updates, weights))
        distances = table.from_mixture(products, np.zeros(len(near)))
        least, total = max(self._nu, float(np.median(distances))), math.inf
        for _ in range(self._iterations):
            shares = 1 / np.maximum(least, distances)
            shares /= shares.sum()
            distances = table.from_mixture(products, shares)
            least, last, total = self._nu, total, float(distances.sum())
            if last - total <= _TOLERANCE * total:
                break
        return _at(
            weights, updates, table.mixture([updates[i] for i in near], weights, shares)
        ), state


class CenteredClip(Robust):
    """Average the parties' changes, each clipped to a ball of radius tau around a centre.

    The centre is the last round's result, as a change of weights (zero at first, and zero for
    statistics such as BatchNorm's, which must not be stepped), then the mean, and so on for so many
    iterations: v = v + mean of (change - v) * min(1, tau / |change - v|). What is clipped is thus
    how far a party's change is from the centre, over all floating entries together, statistics
    included. With a large tau it is iter_avg.

    Source: Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization", ICML
    2021 (centered clipping; there of the parties' momentum, here of what local training changed;
    the median for tau is ours).
    """

    name = "centered_clip"
    _trained: frozenset[str] | None = None

    def __init__(
        self,
        *,
        tau: Annotated[
            float,
            Field(
                description="radius within which a change counts in full; 0: the median distance",
                ge=0,
            ),
        ] = 0.0,
        iterations: Annotated[int, Field(description="means to take", ge=1)] = 1,
    ) -> None:
        self._tau, self._iterations = tau, iterations

    def meet(self, num_parties: int, trained: frozenset[str], model: Any) -> None:
        """Take note of what is trained."""
        self._trained = trained

    def init(self, weights: Weights) -> Any:
        """Return the first centre: no change."""
        return {}

    def rule(self, weights: Weights, updates: Sequence[Update], state: Any) -> tuple[Weights, Any]:
        """Return the weights moved by the clipped mean, and that mean as the next centre."""
        near, products = _near(table.products(updates, weights, state), more=1)
        shares = np.zeros(len(near))  # of the changes, and, last, of the centre
        shares[-1] = 1.0
        for _ in range(self._iterations):
            distances = table.from_mixture(products, shares)[:-1]
            tau = self._tau or float(np.median(distances))
            # Who is too far away for float64 has no part in it, and is counted all the same.
            clipped = np.where(distances > tau, tau / np.maximum(distances, _TINY), 1.0) / len(
                updates
            )
            shares *= 1 - clipped.sum()
            shares[:-1] += clipped
        step = table.mixture([updates[i] for i in near[:-1]], weights, shares[:-1])
        for name, centre in state.items():
            step[name] += shares[-1] * centre
        kept = (
            step
            if self._trained is None
            else {name: step[name] for name in step if name in self._trained}
        )
        return _at(weights, updates, step), kept


def _median(block: np.ndarray) -> np.ndarray:
    return np.asarray(np.median(block, axis=0))


def _cut(beta: float, count: int) -> int:
    """Return how many of so many are cut off at each end, so that at least one is left."""
    return min(int(beta * count + _ROUNDING), (count - 1) // 2)


def _near(products: np.ndarray, more: int = 0) -> tuple[list[int], np.ndarray]:
    """Return which changes are not infinitely far, and the products of these.

    more: how many of the last are no parties' changes
    Raises DivergedError where all parties' are.
    """
    near = np.flatnonzero(np.isfinite(np.diagonal(products)))
    if len(near) == more:
        raise DivergedError(
            "all parties' weights moved so far that no distance is finite", "use a smaller --lr"
        )
    return near.tolist(), products[np.ix_(near, near)]


def _at(weights: Weights, updates: Sequence[Update], step: Weights) -> Weights:
    """Return the floating entries of the weights moved by a step, and the medians of the parties'
    other entries.
    """
    fused = {
        name: np.asarray(weights[name] + change).astype(weights[name].dtype)
        for name, change in step.items()
    }
    others = [
        Update(u.party, {n: a for n, a in u.weights.items() if n not in fused}, u.num_examples)
        for u in updates
    ]
    counted = table.each_column(others, _median)
    return {name: fused[name] if name in fused else counted[name] for name in weights}
