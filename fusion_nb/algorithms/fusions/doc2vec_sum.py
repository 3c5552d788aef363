"""Fusion of models whose loss is a sum over words, and not a mean over rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Update, Weights


class Doc2VecFusion(Fusion):
    """Add the parties' changes, as one model does that reads all their documents in turn.

    The loss is a sum over words: a party's step is a step for the sum, and the mean of K parties'
    models takes a K-th of it. So new = old + eta * (mean of the parties' weights - old), where eta
    is the number of parties that answered. But a frequent word has reached a party's optimum after
    one pass, and K parties with the same optimum would overshoot K-fold: so no row (a word) moves
    further than `limit` times the longest move that any one party made with it.

    Source: joint learning of Witherspoon, Steuer, Bent, Desai, "SEEC: Semantic Vector Federation
    across Edge Computing Environments", 2020; the sum in place of their mean, and its limit, are
    ours.
    """

    not_linear = "compares the parties' moves of each word (limit=0 does not)"
    client_options: Mapping[str, Any] = MappingProxyType({"summed_loss": True})

    def __init__(
        self,
        *,
        eta: Annotated[
            float,
            Field(
                description="step of the aggregator; 0 takes the number of parties, 1 averages",
                ge=0,
            ),
        ] = 0.0,
        weighted: Annotated[
            bool, Field(description="count parties by their number of documents")
        ] = False,
        limit: Annotated[
            float,
            Field(
                description="most that a row moves, in a party's longest moves of it; 0: no limit",
                ge=0,
            ),
        ] = 3.0,
    ) -> None:
        self._eta, self._weighted, self._limit = eta, weighted, limit
        self.averages = not limit  # the limit compares the parties' moves
        self.equal_shares = not weighted

    @property
    def adds_up(self) -> bool:
        """Whether there is no limit, which compares the moves of single parties."""
        return not self._limit

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the old weights moved by the sum of the changes.

        Entries that are no real numbers are averaged.
        """
        mean, parties = RunningMean(), 0
        longest = {name: np.zeros(old.shape[:1]) for name, old in weights.items() if _is_real(old)}
        for update in updates:
            count = float(update.num_parties)
            mean.add(update.weights, update.num_examples if self._weighted else count)
            parties += update.num_parties
            for name, length in longest.items():
                np.maximum(length, _lengths(update.weights[name] - weights[name]), out=length)
        averaged, eta = mean.mean(), self._eta or parties
        return {
            name: self._moved(old, averaged[name], eta, longest.get(name))
            for name, old in weights.items()
        }, state

    def _moved(
        self, old: np.ndarray, mean: np.ndarray, eta: float, longest: np.ndarray | None
    ) -> np.ndarray:
        if longest is None:
            return mean
        change = eta * (mean.astype(np.float64) - old)
        if self._limit:
            lengths = _lengths(change)
            # A row that no party moved has no length to shorten.
            shorter = np.minimum(1, self._limit * longest / np.where(lengths > 0, lengths, 1))
            change *= shorter.reshape(shorter.shape + (1,) * (change.ndim - shorter.ndim))
        return np.asarray(old + change).astype(old.dtype)


def _is_real(array: np.ndarray) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))


def _lengths(change: np.ndarray) -> np.ndarray:
    """Return the length of each row; of each entry, where there are no rows."""
    squares: np.ndarray = change.astype(np.float64) ** 2
    return np.sqrt(squares.sum(axis=tuple(range(1, squares.ndim))))
