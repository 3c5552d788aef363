"""The costs of a run until the end of each round: what its curves can be drawn against."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fusion_nb.core.clock.pace import SECONDS
from fusion_nb.core.types import RoundRecord
from fusion_nb.reporting.charts.costs import EPSILON

#: The label of the axis -> what a round adds to it, or the metric that holds it so far.
_ADDED: dict[str, Callable[[RoundRecord], float]] = {
    "MB sent": lambda record: (record.bytes_up + record.bytes_down) / 1e6,
    "seconds": lambda record: record.seconds,
}
_STEPS = "gradient steps"
_SO_FAR = {"simulated seconds": SECONDS, "epsilon": EPSILON}
#: The axes besides rounds, in the order of the list that offers them.
COSTS = (*_ADDED, _STEPS, *_SO_FAR)
#: Returns the gradient steps of all parties in a round; NaN where they are not counted.
StepsOf = Callable[[RoundRecord], float]


def no_steps(_: RoundRecord) -> float:
    """Return NaN: gradient steps are not counted."""
    return math.nan


class Costs:
    """Adds up the costs of one run, a round at a time; they are those of `COSTS`, in that order.

    Each is NaN as long as it is not known, and never falls: the browser looks places up.
    """

    def __init__(self, steps_of: StepsOf = no_steps) -> None:
        self._added = [*_ADDED.values(), steps_of]
        self._sums = [0.0] * len(COSTS)
        self._is_known = False

    def add(self, record: RoundRecord) -> Sequence[float]:
        """Return the costs until the end of a round, which follows the last one."""
        sums, count = self._sums, len(self._added)
        for i, of_round in enumerate(self._added):
            sums[i] += of_round(record)
        for i, name in enumerate(_SO_FAR.values(), count):
            value = record.metrics.get(name, math.nan)
            if math.isfinite(value):
                sums[i] = value if math.isnan(sums[i]) else max(sums[i], value)
            elif not self._is_known:
                sums[i] = math.nan
        self._is_known = True
        return sums


def steps_in_order(steps: Sequence[int] | None) -> StepsOf:
    """Return a function of the rounds in order that returns the steps of each."""
    left = iter(steps or ())
    return lambda record: float(next(left, math.nan))
