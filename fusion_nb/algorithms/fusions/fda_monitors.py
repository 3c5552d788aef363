"""Estimates of how far the parties are apart, from a few numbers that each of them reports.

With the drift u_i of each party since the last synchronisation, the variance is mean |u_i|^2 -
|mean u_i|^2. Each party reports |u_i|^2 and a linear projection of u_i; the projection of the mean
is the mean of the projections, and bounds its length. This holds only where all parties project in
the same way.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fusion_nb.core import arithmetic, seeds
from fusion_nb.core.types import LocalContext, Weights
from fusion_nb.errors import OptionError, nearest, option


class Monitor(ABC):
    """Reports a drift in a few numbers, and estimates the variance from their mean.

    The first of these numbers is the squared length of the drift.

    >>> class Sums(Monitor):
    ...     '''The naive estimate, with the sum of all drifts beside it.'''
    ...     def report(self, state, drift):
    ...         total = sum(array.sum() for array in drift.values())
    ...         return np.array([arithmetic.squared_norm(drift), total])
    ...     def estimate(self, mean):
    ...         return float(mean[0])
    >>> Sums().estimate(Sums().report({}, {"w": np.array([3.0, 4.0])}))
    25.0
    """

    def begin_round(self, context: LocalContext) -> None:  # noqa: B027  (most keep nothing)
        """Keep, in a party's state, what the report needs of the last common weights."""

    @abstractmethod
    def report(self, state: dict[str, Any], drift: Weights) -> np.ndarray:
        """Return the numbers that a party reports."""

    @abstractmethod
    def estimate(self, mean: np.ndarray) -> float:
        """Return an upper estimate of the variance from the mean of all reports."""


class Naive(Monitor):
    """The mean squared length of the drifts: the variance, if they all had different directions."""

    def report(self, state: dict[str, Any], drift: Weights) -> np.ndarray:
        """Return the squared length."""
        return np.array([arithmetic.squared_norm(drift)])

    def estimate(self, mean: np.ndarray) -> float:
        """Return the mean squared length."""
        return float(mean[0])


class Linear(Monitor):
    """The naive estimate less the squared mean drift along one direction.

    It is the direction of the last synchronisation.
    """

    def begin_round(self, context: LocalContext) -> None:
        """Keep the direction between the last two common weights, once there are two.

        A party that missed a round might not know all common weights in between, and has no
        direction until the next ones.
        """
        state, last = context.state, context.state.get("common")
        if last is not None and not arithmetic.equal(last, context.weights):
            move = arithmetic.change(context.weights, last)
            length = arithmetic.norm(move)
            took_part = state["round"] == context.round - 1
            state["direction"] = (
                {name: array / length for name, array in move.items()} if took_part else None
            )
        state["common"], state["round"] = context.weights, context.round

    def report(self, state: dict[str, Any], drift: Weights) -> np.ndarray:
        """Return the squared length, and the length along the direction (NaN without one)."""
        direction = state.get("direction")
        along = (
            np.nan
            if direction is None
            else sum(float(np.vdot(direction[n], a)) for n, a in drift.items())
        )
        return np.array([arithmetic.squared_norm(drift), along])

    def estimate(self, mean: np.ndarray) -> float:
        """Return the mean squared length less the squared mean length along the direction.

        Nothing is subtracted where a party has no direction.
        """
        return float(mean[0] if np.isnan(mean[1]) else mean[0] - mean[1] ** 2)


class Sketch(Monitor):
    """The naive estimate less the squared length of the mean drift, estimated by a sketch.

    The sketch gives it within a share epsilon.

    Source: Alon, Matias, Szegedy, "The Space Complexity of Approximating the Frequency Moments",
    STOC 1996; in the quick form of Cormode, Garofalakis, "Sketching Streams Through the Net", VLDB
    2005.
    """

    depth, width, epsilon = 5, 250, 0.06

    def report(self, state: dict[str, Any], drift: Weights) -> np.ndarray:
        """Return the squared length, and the sketch."""
        vector = np.concatenate([array.ravel() for array in drift.values()])
        buckets, signs = _hashes(len(vector), self.depth, self.width)
        rows = [np.bincount(b, s * vector, self.width) for b, s in zip(buckets, signs, strict=True)]
        return np.array([float(vector @ vector), *np.concatenate(rows)])

    def estimate(self, mean: np.ndarray) -> float:
        """Return the mean squared length less the squared length of the mean.

        The latter follows from the mean sketch, and is made smaller by epsilon.
        """
        squares = (mean[1:].reshape(self.depth, self.width) ** 2).sum(1)
        return float(mean[0] - np.median(squares) / (1 + self.epsilon))


@functools.lru_cache(maxsize=1)
def _hashes(size: int, depth: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each number's bucket and sign in each row of the sketch: the same at every party.

    One result is kept, since every party of a run asks for the same; in the smallest dtypes, since
    there are `depth` times as many as weights.
    """
    rng = seeds.stream(0, "sketch", size)
    buckets = rng.integers(0, width, (depth, size)).astype(np.min_scalar_type(width))
    signs = rng.choice([-1.0, 1.0], (depth, size)).astype(np.int8)
    return buckets, signs


_MONITORS: dict[str, type[Monitor]] = {"naive": Naive, "linear": Linear, "sketch": Sketch}


def create(name: str) -> Monitor:
    """Return the monitor of a name. Raises OptionError."""
    if name not in _MONITORS:
        raise OptionError(
            f"{option('fusion', f'fda:monitor={name}')} is not allowed",
            f"{nearest(name, _MONITORS)}there are: {', '.join(_MONITORS)}",
            allowed=tuple(_MONITORS),
        )
    return _MONITORS[name]()
