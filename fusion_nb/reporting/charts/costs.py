"""The horizontal axes of curves that are drawn against a cost in place of rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fusion_nb.core.clock.pace import SECONDS
from fusion_nb.core.history import History
from fusion_nb.errors import OptionError, RunError, nearest, option

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The metric that counts how much privacy a run has spent so far.
EPSILON = "epsilon"
#: A cost -> the metric that holds it, and what the axis says.
_COSTS = {"time": (SECONDS, "simulated seconds"), "epsilon": (EPSILON, "epsilon")}
AGAINST = ("round", *_COSTS)


def check_against(history: History, against: str) -> None:
    """Check that a run has rounds or a cost to be drawn against.

    Raises OptionError for a word that is not known, and RunError for a cost that it doesn't have.
    """
    if against not in AGAINST:
        raise OptionError(
            f"against={against!r} is not allowed",
            f"{nearest(against, AGAINST)}there are: {', '.join(AGAINST)}",
        )
    if against == "round" or any(map(math.isfinite, _values(history, against))):
        return
    if against == "time":
        raise RunError(
            "this run has no simulated time",
            f"simulate slow devices or lines, as {option('devices', 'phones')} or "
            f"{option('network', '4g')}",
        )
    why = "its noise is 0, so that epsilon is infinite" if EPSILON in history.metrics() else ""
    raise RunError(
        f"this run has no epsilon to be drawn against: {why or 'it counts no privacy'}",
        f"train with noise, as {option('privacy', 'central:clip=1,noise=1')}",
    )


def places(history: History, against: str) -> list[float]:
    """Return where each round stands on the axis; NaN where its cost is not finite."""
    if against == "round":
        return [float(record.round) for record in history]
    values = _values(history, against)
    return [value if math.isfinite(value) else math.nan for value in values]


def told(history: History, against: str) -> str:
    """Return how far a run got on the axis, as the end of a sentence; "" for rounds."""
    if against == "round" or not has(history, against):
        return ""
    last = max(filter(math.isfinite, places(history, against)))
    return f", {_COSTS[against][1]} up to {last:.3g}"


def measure(axes: Sequence[Axes], against: str, last: float) -> None:
    """Scale horizontal axes in a cost, up to a last one."""
    from matplotlib.ticker import AutoLocator

    for axis in axes:
        axis.set_xlabel(_COSTS[against][1], loc="left")
        axis.xaxis.set_major_locator(AutoLocator())
        axis.set_xlim(-0.02 * last, last * 1.12)


def has(history: History, against: str) -> bool:
    """Return whether a run has a finite cost to be drawn against."""
    return any(map(math.isfinite, places(history, against)))


def _values(history: History, against: str) -> list[float]:
    name, _ = _COSTS[against]
    return list(history[name]) if name in history.metrics() else []
