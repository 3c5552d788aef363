"""Optimizers at the aggregator, for which the parties' mean change is a gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.server_update import ServerUpdate, trained_zeros
from fusion_nb.core.arithmetic import tree_map
from fusion_nb.core.types import FederationInfo, Weights

#: Options that several of these rules have, each with defaults of its own.
_Rate = Annotated[float, Field(description="learning rate of the aggregator", gt=0)]
_Beta1 = Annotated[float, Field(description="share of the last direction that is kept", ge=0, lt=1)]
_Tau = Annotated[float, Field(description="least root of v: smaller adapts more", gt=0)]


class FedAvgM(ServerUpdate):
    """Follow the parties' mean change with momentum: v = beta * v + change, new = old + lr * v.

    With beta 0 and lr 1 it is fedavg.

    Source: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification", 2019.
    """

    linear = True

    def __init__(
        self,
        *,
        beta: Annotated[float, Field(description="momentum of the aggregator", ge=0, lt=1)] = 0.9,
        lr: _Rate = 1.0,
    ) -> None:
        self._beta, self._lr = beta, lr

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the velocity, which is zero."""
        return {**super().init(weights, info), "velocity": trained_zeros(weights, info.trained)}

    def step(self, change: Weights, state: Any) -> tuple[Weights, Any]:
        """Return the step along the velocity, and the velocity."""
        velocity = tree_map(lambda v, c: self._beta * v + c, state["velocity"], change)
        return tree_map(lambda v: self._lr * v, velocity), {**state, "velocity": velocity}


class AdaptiveUpdate(ServerUpdate, ABC):
    """A base of rules with an adaptive step: m / (sqrt(v) + tau), of the moments m and v.

    m = beta1 * m + (1 - beta1) * change; v by `second_moment`, which starts at tau squared; new =
    old + lr * m / (sqrt(v) + tau). As in the paper, and unlike Adam as frameworks have it, no bias
    is corrected. Parties are weighted by their rows, as with fedavg, where Algorithm 2 as printed
    has the bare mean.

    >>> class FedMax(AdaptiveUpdate):
    ...     "Divide by the largest change so far."
    ...     def second_moment(self, v, square):
    ...         return np.maximum(v, square)
    >>> start = {"w": np.zeros(1)}
    >>> state = FedMax().init(start, FederationInfo(1, ("w",), frozenset({"w"})))
    >>> FedMax().step({"w": np.array([3.0])}, state)[0]
    {'w': array([0.75])}
    """

    linear = True

    def __init__(self, *, lr: _Rate = 1.0, beta1: _Beta1 = 0.0, tau: _Tau = 1.0) -> None:
        self._lr, self._beta1, self._tau = lr, beta1, tau

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the first moment, which is zero, and the second, which is tau squared."""
        zeros = trained_zeros(weights, info.trained)
        moments = {"m": zeros, "v": tree_map(lambda zero: zero + self._tau**2, zeros)}
        return {**super().init(weights, info), **moments}

    def step(self, change: Weights, state: Any) -> tuple[Weights, Any]:
        """Return the step, and the moments."""
        m = tree_map(lambda m, c: self._beta1 * m + (1 - self._beta1) * c, state["m"], change)
        v = tree_map(lambda v, c: self.second_moment(v, c**2), state["v"], change)
        step = tree_map(lambda m, v: self._lr * m / (np.sqrt(v) + self._tau), m, v)
        return step, {**state, "m": m, "v": v}

    @abstractmethod
    def second_moment(self, v: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return the second moment after a change with these squares."""


class FedAdagrad(AdaptiveUpdate):
    """Follow the mean change with steps that shrink where changes were large so far.

    v = v + change squared.

    Source: Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, "Adaptive Federated
    Optimization", ICLR 2021 (Algorithm 2, FedAdagrad).
    """

    def __init__(self, *, lr: _Rate = 0.1, beta1: _Beta1 = 0.0, tau: _Tau = 1e-3) -> None:
        super().__init__(lr=lr, beta1=beta1, tau=tau)

    def second_moment(self, v: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return the sum of all squares."""
        return v + square


class FedAdam(AdaptiveUpdate):
    """Follow the mean change with steps that adapt to recent changes.

    v = beta2 * v + (1 - beta2) * change squared.

    Source: Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, "Adaptive Federated
    Optimization", ICLR 2021 (Algorithm 2, FedAdam).
    """

    def __init__(
        self,
        *,
        lr: _Rate = 0.01,
        beta1: _Beta1 = 0.9,
        beta2: Annotated[
            float, Field(description="share of the last squares that is kept", ge=0, lt=1)
        ] = 0.99,
        tau: _Tau = 1e-3,
    ) -> None:
        super().__init__(lr=lr, beta1=beta1, tau=tau)
        self._beta2 = beta2

    def second_moment(self, v: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return the mean of squares, the latest counting most."""
        return self._beta2 * v + (1 - self._beta2) * square


class FedYogi(FedAdam):
    """Follow the mean change with steps that adapt, but slowly.

    v moves by (1 - beta2) * change squared.

    Source: Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, "Adaptive Federated
    Optimization", ICLR 2021 (Algorithm 2, FedYogi).
    """

    def second_moment(self, v: np.ndarray, square: np.ndarray) -> np.ndarray:
        """Return v moved towards the squares by their size, however far away it is."""
        return v - (1 - self._beta2) * square * np.sign(v - square)
