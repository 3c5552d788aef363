"""How a few numbers of each party tell how far the parties are apart.

With the drift u_i of each party since the last synchronisation, the variance is mean |u_i|^2 -
|mean u_i|^2. Each party reports |u_i|^2 and a linear picture of u_i; the picture of the mean is the
mean of the pictures, and bounds its length. This holds only where all make their pictures in the
same way.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from fusion_nb.core import arithmetic, seeds
from fusion_nb.core.types import Turn, Weights
from fusion_nb.errors import OptionError, nearest


class Monitor(Protocol):
    """A way to report a drift in a few numbers, the first of which is its squared length, and to
    read their mean.
    """

    def renew(self, turn: Turn) -> None:
        """Take note, in a party's state, of the weights that it had last in common with the
        others.
        """

    def report(self, state: dict[str, Any], drift: Weights) -> np.ndarray:
        """Return the numbers that a party reports."""

    def estimate(self, mean: np.ndarray) -> float:
        """Return the variance, or more, that the mean of all reports stands for."""


class Naive:
    """The mean squared length of the drifts: the variance, if they all had different directions."""

    def renew(self, turn: Turn) -> None:
        """Take note of nothing."""

    def report(self, state: dict[str, Any], drift: Weights) -> np.ndarray:
        """Return the squared length."""
        return np.array([arithmetic.squared_norm(drift)])

    def estimate(self, mean: np.ndarray) -> float:
        """Return the mean squared length."""
        return float(mean[0])


class Linear:
    """The naive estimate less the squared length of the mean drift along the way of the last
    synchronisation.
    """

    def renew(self, turn: Turn) -> None:
        """Keep the direction from the last common weights but one to the last, from the second on.

        A party that was away meanwhile might have missed some between those it knows, and has none
        until the next ones.
        """
        state, last = turn.state, turn.state.get("common")
        if last is not None and not arithmetic.equal(last, turn.weights):
            way = arithmetic.change(turn.weights, last)
            length = arithmetic.norm(way)
            was_there = state["round"] == turn.round - 1
            state["direction"] = (
                {name: array / length for name, array in way.items()} if was_there else None
            )
        state["common"], state["round"] = turn.weights, turn.round

    def report(self, state: dict[str, Any], drift: Weights) -> np.ndarray:
        """Return the squared length, and the length along the direction (NaN while there is
        none).
        """
        direction = state.get("direction")
        along = (
            np.nan
            if direction is None
            else sum(float(np.vdot(direction[n], a)) for n, a in drift.items())
        )
        return np.array([arithmetic.squared_norm(drift), along])

    def estimate(self, mean: np.ndarray) -> float:
        """Return the mean squared length less the squared mean length along the direction, where
        all have that.
        """
        return float(mean[0] if np.isnan(mean[1]) else mean[0] - mean[1] ** 2)


class Sketch:
    """The naive estimate less the squared length of the mean drift, which a sketch of it tells
    within a share epsilon.

    Source: Alon, Matias, Szegedy, "The Space Complexity of Approximating the Frequency Moments",
    STOC 1996; in the quick form of Cormode, Garofalakis, "Sketching Streams Through the Net", VLDB
    2005.
    """

    depth, width, epsilon = 5, 250, 0.06

    def __init__(self) -> None:
        self._hashes: tuple[np.ndarray, np.ndarray] = np.zeros((0, 0), np.intp), np.zeros((0, 0))

    def renew(self, turn: Turn) -> None:
        """Take note of nothing."""

    def report(self, state: dict[str, Any], drift: Weights) -> np.ndarray:
        """Return the squared length, and the sketch."""
        vector = np.concatenate([array.ravel() for array in drift.values()])
        buckets, signs = self._hashed(len(vector))
        rows = [np.bincount(b, s * vector, self.width) for b, s in zip(buckets, signs, strict=True)]
        return np.array([float(vector @ vector), *np.concatenate(rows)])

    def estimate(self, mean: np.ndarray) -> float:
        """Return the mean squared length less what the mean sketch says of the mean's, made smaller
        by epsilon.
        """
        squares = (mean[1:].reshape(self.depth, self.width) ** 2).sum(1)
        return float(mean[0] - np.median(squares) / (1 + self.epsilon))

    def _hashed(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return each number's bucket and sign in each row of the sketch: the same at every
        party.
        """
        if self._hashes[0].shape[-1] != size:
            rng = seeds.stream(0, "sketch", size)
            buckets = rng.integers(0, self.width, (self.depth, size))
            self._hashes = buckets, rng.choice([-1.0, 1.0], (self.depth, size))
        return self._hashes


_MONITORS: dict[str, type[Monitor]] = {"naive": Naive, "linear": Linear, "sketch": Sketch}


def named(name: str) -> Monitor:
    """Return the monitor of a name. Raises OptionError."""
    if name not in _MONITORS:
        raise OptionError(
            f"fda:monitor={name} is not allowed",
            f"{nearest(name, _MONITORS)}there are: {', '.join(_MONITORS)}",
        )
    return _MONITORS[name]()
