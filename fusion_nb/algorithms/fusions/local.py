"""Rules that change what parties train for, so that they drift apart less on unlike data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions.server_update import Averaging, Stepping, each, travel
from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.types import Turn, Update, Weights


class FedProx(Averaging):
    """Average the parties' weights, where each party is held near the fused model by mu / 2 *
    distance squared.

    With mu 0 it is fedavg, but that partial work of stragglers is kept.

    Source: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous
    Networks", MLSys 2020. The distance is squared, as there, and not the bare norm that some
    implementations add.
    """

    keeps_partial = True

    def __init__(
        self,
        *,
        mu: Annotated[float, Field(description="how strongly parties are held", ge=0)] = 0.1,
    ) -> None:
        self.local: Mapping[str, Any] = {"mu": mu}


class Scaffold(Stepping):
    """Correct every party's gradient by the difference between everybody's direction and its own
    (control variates).

    Parties send as much again as their weights: the change of their control variate. All parties
    count the same.

    Source: Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled
    Averaging for Federated Learning", ICML 2020 (option II). The paper has plain SGD; with momentum
    a step travels further than lr, and the distance is divided by how far it really is, where
    several implementations divide by the number of steps alone.
    """

    local: Mapping[str, Any] = {"shift": None}
    needs_sgd = True
    needs_travel = True

    def __init__(
        self,
        *,
        lr: Annotated[float, Field(description="learning rate of the aggregator", gt=0)] = 1.0,
    ) -> None:
        self._lr = lr

    def init(self, weights: Weights) -> Any:
        """Return the aggregator's control variate, which is zero."""
        return _like(self.zeros(weights), weights)

    def send(self, state: Any) -> Mapping[str, Any]:
        """Send the aggregator's control variate along."""
        return {"control": state}

    def train(self, turn: Turn) -> Update:
        """Train with the corrected gradient, and renew the party's control variate."""
        everybody: Weights = turn.received["control"]
        own: Weights = turn.state.get("control") or arithmetic.zeros_like(everybody)
        trained = turn.train(turn.weights, shift=each(np.subtract, everybody, own))
        change, way = self.change(trained.weights, turn.weights), travel(trained)
        # c_i - c + (x - y_i) / (steps * lr), less c_i
        difference = _like(each(lambda c, d: -c - d / way, everybody, change), turn.weights)
        turn.state["control"] = each(np.add, own, difference)
        return turn.update(trained.weights, control=difference)

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the weights moved along the mean change, and the control variate moved by a share
        of the parties'.
        """
        mean, controls = RunningMean(), RunningMean()
        for update in updates:
            mean.add(update.weights, 1.0)
            controls.add(each(lambda c: c.astype(np.float64), update.extras["control"]), 1.0)
        if not mean.total:
            return weights, state
        fused = mean.mean()
        step = each(lambda c: self._lr * c, self.change(fused, weights))
        share = mean.total / (self.num_parties or mean.total)
        control = each(lambda c, d: (c + share * d).astype(c.dtype), state, controls.mean())
        return fused | arithmetic.moved(weights, step), control


class FedDyn(Stepping):
    """Bend every party's loss, round by round, until its minimum is that of all of them together.

    Source: Acar, Zhao, Matas Navarro, Mattina, Whatmough, Saligrama, "Federated Learning Based on
    Dynamic Regularization", ICLR 2021 (Algorithm 1). All parties count the same.
    """

    keeps_partial = True

    def __init__(
        self,
        *,
        alpha: Annotated[float, Field(description="how strongly parties are held", gt=0)] = 0.01,
    ) -> None:
        self._alpha = alpha
        self.local: Mapping[str, Any] = {"mu": alpha, "shift": None}

    def init(self, weights: Weights) -> Any:
        """Return the aggregator's h, which is zero."""
        return self.zeros(weights)

    def train(self, turn: Turn) -> Update:
        """Train with the party's own linear term, and renew that: g - alpha * change."""
        own: Weights = turn.state.get("gradient") or _like(self.zeros(turn.weights), turn.weights)
        trained = turn.train(turn.weights, shift=each(np.negative, own))
        change = self.change(trained.weights, turn.weights)
        turn.state["gradient"] = _like(
            each(lambda g, d: g - self._alpha * d, own, change), turn.weights
        )
        return turn.update(trained.weights)

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the mean of the parties' weights less h / alpha, and h less alpha times
        everybody's mean change.
        """
        mean = RunningMean()
        for update in updates:
            mean.add(update.weights, 1.0)
        if not mean.total:
            return weights, state
        fused = mean.mean()
        change = self.change(fused, weights)
        share = mean.total / (self.num_parties or mean.total)
        h = each(lambda h, d: h - self._alpha * share * d, state, change)
        return fused | arithmetic.moved(
            weights, each(lambda d, h: d - h / self._alpha, change, h)
        ), h


class FedNova(Stepping):
    """Average the parties' changes per step, so that who does more steps does not pull the fused
    model to itself.

    With equal work it is fedavg. Momentum is accounted for: what counts is how far the steps
    travel.

    Source: Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in
    Heterogeneous Federated Optimization", NeurIPS 2020.
    """

    keeps_partial = True
    needs_travel = True

    def train(self, turn: Turn) -> Update:
        """Train, and report how far the steps travel."""
        trained = turn.train(turn.weights)
        return turn.update(trained.weights, travel=travel(trained))

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the weights moved by the mean travel times the mean change per travel."""
        mean, per_travel, total = RunningMean(), RunningMean(), 0.0
        for update in updates:
            mean.add(update.weights, update.num_examples)
            change = self.change(update.weights, weights)
            per_travel.add(
                each(lambda d, t=update.extras["travel"]: d / t, change), update.num_examples
            )
            total += update.num_examples * update.extras["travel"]
        if not mean.total:
            return weights, state
        step = each(lambda d: d * total / mean.total, per_travel.mean())
        return mean.mean() | arithmetic.moved(weights, step), state


def _like(entries: Weights, weights: Weights) -> Weights:
    """Return entries in the dtypes of the weights of the same names, as they travel and are
    kept.
    """
    return {name: array.astype(weights[name].dtype) for name, array in entries.items()}
