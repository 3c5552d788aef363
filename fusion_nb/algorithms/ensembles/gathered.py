"""One exchange and no fusion: the parties' models are gathered, and kept apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fusion_nb.core.types import Turn, Update, Weights
from fusion_nb.models.combining import SHARES, prefix


class Gathered:
    """Put each party's model in its place in an ensemble, and let all that were sent count the
    same.

    With `stacks`, every second round finds out how much each counts: parties send sums of products
    of predictions on rows that they kept back, from which follow the shares, none of them negative,
    with the least squared error on all parties' rows together, as if one had them all.

    Source: stacking by Wolpert, "Stacked Generalization", Neural Networks 1992; without negative
    shares as in Breiman, "Stacked Regressions", Machine Learning 1996; for each class as in Ting,
    Witten, "Issues in Stacked Generalization", JAIR 1999.
    """

    local: Mapping[str, Any] = {"member": "", "stacks": False}
    sends_part = True

    def __init__(self, parties: Sequence[str], *, stacks: bool = False) -> None:
        self._prefixes = {party: prefix(i) for i, party in enumerate(parties)}
        self._stacks = stacks
        #: The round that is under way.
        self._round = 0

    def init(self, weights: Weights) -> Any:
        """Return the parties whose models are there, and the rounds so far: none yet."""
        return frozenset(), 0

    def send(self, state: Any) -> Mapping[str, Any]:
        """Send nothing along; note which round begins, since what goes down depends on it."""
        self._round = state[1] + 1
        return {}

    def down(self, weights: Weights) -> Weights:
        """Return one model: what a party needs to train; or all of them, where it is to tell how
        they do.
        """
        if self._stacks and self._round % 2 == 0:
            return weights
        first = next(iter(self._prefixes.values()))
        return {name: array for name, array in weights.items() if name.startswith(first)}

    def train(self, turn: Turn) -> Update:
        """Train the party's own model and send it; or tell how the models do on its rows."""
        if self._stacks and turn.round % 2 == 0:
            return turn.update({}, **turn.train(turn.weights, "stack", stacks=True).extras)
        trained = turn.train(turn.weights, member=turn.party)
        own = self._prefixes[turn.party]
        return turn.update(
            {name: array for name, array in trained.weights.items() if name.startswith(own)}
        )

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return all models, and how much each counts."""
        there, products, truth = set(state[0]), 0.0, 0.0
        for update in updates:
            if update.weights:
                weights = weights | update.weights
                there.add(update.party)
            else:
                products, truth = (
                    products + update.extras["products"],
                    truth + update.extras["truth"],
                )
        even = np.array([float(party in there) for party in self._prefixes]) / max(1, len(there))
        shares = even if isinstance(products, float) else _least_squares(products, truth, even)
        old = weights[SHARES]
        shares = np.broadcast_to(shares, old.shape).astype(old.dtype)
        return weights | {SHARES: shares}, (frozenset(there), state[1] + 1)


def _least_squares(products: np.ndarray, truth: np.ndarray, even: np.ndarray) -> np.ndarray:
    """Return, for each class, the shares >= 0 with the least squared error, held a little towards
    even ones.

    products: (classes, members, members);  truth: (classes, members)
    Members that are not there have no share; where no share helps, all count the same.
    """
    there = np.flatnonzero(even)
    products, truth = products[:, there][:, :, there], truth[:, there]
    # A class that few kept-back rows have says little about its shares.
    hold = 1e-3 * np.diagonal(products, axis1=1, axis2=2).mean() + 1e-12
    found = np.zeros((len(truth), len(even)))
    for shares, gram, goal in zip(found, products, truth, strict=True):
        shares[there] = _not_negative(gram + hold * np.eye(len(there)), goal + hold * even[there])
    found = found if found.any() else np.tile(even, (len(truth), 1))
    return found if len(found) > 1 else found[0]


def _not_negative(gram: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return x >= 0 that minimises x @ gram @ x - 2 * goal @ x, for a positive definite `gram`.

    Source: Lawson, Hanson, "Solving Least Squares Problems", 1974, chapter 23; on sums of products
    as in Bro, de Jong, "A Fast Non-negativity-constrained Least Squares Algorithm", Journal of
    Chemometrics 1997.
    """
    x, free = np.zeros(len(goal)), np.zeros(len(goal), bool)
    for _ in range(10 * len(goal)):
        slope = np.where(free, -np.inf, goal - gram @ x)
        if slope.max() <= 1e-10 * np.abs(goal).max():
            break
        free[slope.argmax()] = True
        while free.any():
            best = np.zeros(len(goal))
            best[free] = np.linalg.solve(gram[np.ix_(free, free)], goal[free])
            if best[free].min() > 0:
                x = best
                break
            low = np.flatnonzero(free & (best <= 0))
            reach = x[low] / np.maximum(x[low] - best[low], np.finfo(float).tiny)
            x = np.maximum(0, x + reach.min() * (best - x))
            x[low[reach.argmin()]] = 0  # whatever rounding says, so that one is let go each time
            free &= x > 0
    return x
