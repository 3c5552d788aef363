"""What rules share that do more than average: the parties' mean change as a direction in which to
step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.types import Trained, Update, Weights
from fusion_nb.errors import OptionError


class Averaging:
    """Averages what comes in, each party in proportion to its rows; a base of rules that ask more
    of the parties.

    Where nothing comes in, the weights stay.
    """

    local: Mapping[str, Any] = {}

    def init(self, weights: Weights) -> Any:
        """Return the state, of which there is none."""
        return None

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the mean of the updates, weighted by their rows."""
        mean = RunningMean()
        for update in updates:
            mean.add(update.weights, update.num_examples)
        return mean.mean() if mean.total else weights, state


class Stepping:
    """Moves what gradients train by a step that `step` makes of the mean change, and averages
    everything else.

    Statistics, such as BatchNorm's, must not be stepped: a variance would become negative.
    """

    local: Mapping[str, Any] = {}
    num_parties = 0
    _trained: frozenset[str] | None = None

    def meet(self, num_parties: int, trained: frozenset[str], model: Any) -> None:
        """Take note of how many parties there are, and of what is trained."""
        self.num_parties, self._trained = num_parties, trained

    def init(self, weights: Weights) -> Any:
        """Return the state, of which there is none."""
        return None

    def change(self, new: Weights, old: Weights) -> Weights:
        """Return what training added to the entries that it trains, in float64."""
        found = arithmetic.change(new, old)
        return (
            found
            if self._trained is None
            else {name: found[name] for name in found if name in self._trained}
        )

    def zeros(self, weights: Weights) -> Weights:
        """Return zeros for the entries that are trained."""
        return arithmetic.zeros_like(self.change(weights, weights))

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return the weights moved by a step along the mean change, and the rule's new state."""
        mean = RunningMean()
        for update in updates:
            mean.add(update.weights, self.share(update))
        if not mean.total:
            return weights, state
        fused = mean.mean()
        step, state = self.step(self.change(fused, weights), state)
        return fused | arithmetic.moved(weights, step), state

    def share(self, update: Update) -> float:
        """Return how much a party counts: its number of rows."""
        return update.num_examples

    def step(self, change: Weights, state: Any) -> tuple[Weights, Any]:
        """Return the step to take, and the new state."""
        return change, state


def each(function: Callable[..., Any], *weights: Weights) -> Weights:
    """Return a function of the entries of several weights, name by name."""
    return arithmetic.tree_map(function, *weights)


def travel(trained: Trained) -> float:
    """Return how far the steps of a training travel. Raises OptionError for a kind of model that
    does not tell.
    """
    if not math.isfinite(trained.travel):
        raise OptionError(
            "the fusion needs to know the steps of local training, which this model does not tell",
            "use another fusion, such as fedavg",
        )
    return trained.travel
