"""A base of rules that treat the parties' mean change as a direction in which to step."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import FederationInfo, TrainingResult, Update, Weights
from fusion_nb.errors import OptionError, option


class ServerUpdate(Fusion):
    """Moves the trained entries by a step along the mean change, and averages all others.

    The method `step` computes the step.

    Statistics, such as BatchNorm's, must not be stepped: a variance would become negative. The
    state is a dict with the entries `trained` (sorted names) and `num_parties`; a subclass adds its
    own entries in `init` and returns a new dict from `step`.

    >>> import numpy as np
    >>> class HalfStep(ServerUpdate):
    ...     '''Steps half as far as fedavg does.'''
    ...     def step(self, change, state):
    ...         return {name: array / 2 for name, array in change.items()}, state
    >>> rule, start = HalfStep(), {"w": np.zeros(2)}
    >>> info = FederationInfo(1, ("w",), frozenset({"w"}), frozenset())
    >>> updates = iter([Update("party 1", {"w": np.ones(2)}, num_examples=10)])
    >>> rule.aggregate(start, updates, rule.init(start, info))[0]
    {'w': array([0.5, 0.5])}
    """

    averages = True

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the names of the trained entries, and the number of parties."""
        return {"trained": sorted(info.trained), "num_parties": info.num_parties}

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights moved by a step along the mean change, and the new state."""
        mean = RunningMean()
        for update in updates:
            mean.add(update.weights, update.num_examples)
        if not mean.total:
            return weights, state
        average = mean.mean()
        step, state = self.step(trained_change(average, weights, state["trained"]), state)
        return average | arithmetic.moved(weights, step), state

    def step(self, change: Weights, state: Any) -> tuple[Weights, Any]:
        """Return the step to take for the mean change, and the new state."""
        return change, state


def trained_change(new: Weights, old: Weights, trained: Collection[str]) -> Weights:
    """Return, in float64, what training added to the entries that it trains."""
    names, change = frozenset(trained), arithmetic.change(new, old)
    return {name: change[name] for name in change if name in names}


def trained_zeros(weights: Weights, trained: Collection[str]) -> Weights:
    """Return zeros, in float64, for the floating entries that are trained."""
    return arithmetic.zeros_like(trained_change(weights, weights, trained))


def in_dtypes_of(weights: Weights, entries: Weights) -> Weights:
    """Return entries in the dtypes of the weights of the same names."""
    return {name: array.astype(weights[name].dtype) for name, array in entries.items()}


def effective_step_size(result: TrainingResult) -> float:
    """Return the effective step size of a training.

    Raises OptionError for a kind of model that does not report it.
    """
    if not math.isfinite(result.effective_step_size):
        raise OptionError(
            "the fusion needs to know the steps of local training, which this model does not tell",
            f"use another {option('fusion')}, such as fedavg",
        )
    return result.effective_step_size
