"""Optimizers at the aggregator: the parties' mean change is a gradient, and these are the ways to
follow it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.server_update import Stepping, each
from fusion_nb.core.types import Weights


class FedAvgM(Stepping):
    """Follow the parties' mean change with momentum: v = beta * v + change, new = old + lr * v.

    With beta 0 and lr 1 it is fedavg.

    Source: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification", 2019.
    """

    def __init__(
        self,
        *,
        beta: Annotated[float, Field(description="momentum of the aggregator", ge=0, lt=1)] = 0.9,
        lr: Annotated[float, Field(description="learning rate of the aggregator", gt=0)] = 1.0,
    ) -> None:
        self._beta, self._lr = beta, lr

    def init(self, weights: Weights) -> Any:
        """Return the velocity, which is zero."""
        return self.zeros(weights)

    def step(self, change: Weights, state: Any) -> tuple[Weights, Any]:
        """Return the step along the velocity, and the velocity."""
        velocity = each(lambda v, c: self._beta * v + c, state, change)
        return each(lambda v: self._lr * v, velocity), velocity


class _Adaptive(Stepping, ABC):
    """m = beta1 * m + (1 - beta1) * change; v by `second`, from tau squared on; new = old + lr * m
    / (sqrt(v) + tau).

    As in the paper, and unlike Adam as frameworks have it, no bias is corrected. Parties count by
    their rows, as with fedavg, where Algorithm 2 as printed has the bare mean.
    """

    _beta1 = _beta2 = 0.0
    _lr = _tau = 1.0

    def init(self, weights: Weights) -> Any:
        """Return the first moment, which is zero, and the second, which is tau squared."""
        zeros = self.zeros(weights)
        return zeros, each(lambda zero: zero + self._tau**2, zeros)

    def step(self, change: Weights, state: Any) -> tuple[Weights, Any]:
        """Return the step, and the moments."""
        first = each(lambda m, c: self._beta1 * m + (1 - self._beta1) * c, state[0], change)
        second = each(lambda v, c: self.second(v, c**2), state[1], change)
        step = each(lambda m, v: self._lr * m / (np.sqrt(v) + self._tau), first, second)
        return step, (first, second)

    @abstractmethod
    def second(self, v: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return the second moment after a change of which these are the squares."""


class FedAdagrad(_Adaptive):
    """Follow the mean change with steps that shrink where changes were large so far: v = v + change
    squared.

    Source: Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, "Adaptive Federated
    Optimization", ICLR 2021 (Algorithm 2, FedAdagrad).
    """

    def __init__(
        self,
        *,
        lr: Annotated[float, Field(description="learning rate of the aggregator", gt=0)] = 0.1,
        beta1: Annotated[
            float, Field(description="share of the last direction that is kept", ge=0, lt=1)
        ] = 0.0,
        tau: Annotated[
            float, Field(description="least root of v: smaller adapts more", gt=0)
        ] = 1e-3,
    ) -> None:
        self._lr, self._beta1, self._tau = lr, beta1, tau

    def second(self, v: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return the sum of all squares."""
        return v + square


class FedAdam(_Adaptive):
    """Follow the mean change with steps that adapt to recent ones: v = beta2 * v + (1 - beta2) *
    change squared.

    Source: Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, "Adaptive Federated
    Optimization", ICLR 2021 (Algorithm 2, FedAdam).
    """

    def __init__(
        self,
        *,
        lr: Annotated[float, Field(description="learning rate of the aggregator", gt=0)] = 0.01,
        beta1: Annotated[
            float, Field(description="share of the last direction that is kept", ge=0, lt=1)
        ] = 0.9,
        beta2: Annotated[
            float, Field(description="share of the last squares that is kept", ge=0, lt=1)
        ] = 0.99,
        tau: Annotated[
            float, Field(description="least root of v: smaller adapts more", gt=0)
        ] = 1e-3,
    ) -> None:
        self._lr, self._beta1, self._beta2, self._tau = lr, beta1, beta2, tau

    def second(self, v: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return the mean of squares, the latest counting most."""
        return self._beta2 * v + (1 - self._beta2) * square


class FedYogi(FedAdam):
    """Follow the mean change with steps that adapt, but not in jumps: v moves by (1 - beta2) *
    change squared.

    Source: Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, "Adaptive Federated
    Optimization", ICLR 2021 (Algorithm 2, FedYogi).
    """

    def second(self, v: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return v moved towards the squares by their size, however far away it is."""
        return v - (1 - self._beta2) * square * np.sign(v - square)
