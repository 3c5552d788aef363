"""The weights of stale updates, and the mixing that asynchronous rules have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.core.arithmetic import RunningMean
from fusion_nb.core.protocols import Arrival
from fusion_nb.core.types import Weights
from fusion_nb.errors import OptionError, nearest

Staleness = Annotated[
    str,
    Field(description="how a stale update's weight falls: constant, polynomial or hinge"),
]
Time = Annotated[
    str,
    Field(
        description="real (over Flower: updates as they come) or simulated; without it real over "
        "Flower unless devices or lines are simulated"
    ),
]
_TIMES = ("", "real", "simulated")
_KINDS = ("constant", "polynomial", "hinge")
#: `weigh(staleness)` returns the weight of an update, 1 for a fresh one.
Weigh = Callable[[int], float]


def weigher(kind: str, a: float, b: int) -> Weigh:
    """Return the function that weighs an update by its staleness.

    constant: 1;  polynomial: (1 + staleness) ** -a
    hinge: 1 up to a staleness of b, and from there 1 / (a * (staleness - b) + 1)

    Source: Xie, Koyejo, Gupta, "Asynchronous Federated Optimization", 2019, section 5.2.

    >>> weigher("polynomial", 0.5, 4)(3), weigher("hinge", 10, 4)(4), weigher("hinge", 10, 4)(5)
    (0.5, 1.0, 0.09090909090909091)
    """
    if kind not in _KINDS:
        raise OptionError(
            f"staleness={kind} is not allowed",
            f"{nearest(kind, _KINDS)}give {', '.join(_KINDS[:-1])} or {_KINDS[-1]}",
            option="fusion",
            value=kind,
            allowed=_KINDS,
        )
    if kind == "constant":
        return lambda staleness: 1.0
    if kind == "polynomial":
        return lambda staleness: float((1 + staleness) ** -a)
    return lambda staleness: 1.0 if staleness <= b else 1 / (a * (staleness - b) + 1)


def checked_time(time: str) -> str:
    """Return the name of a time. Raises OptionError for another one."""
    if time in _TIMES:
        return time
    raise OptionError(
        f"time={time} is not allowed",
        f"{nearest(time, _TIMES[1:])}give real or simulated, or leave it out",
        option="fusion",
        value=time,
        allowed=_TIMES[1:],
    )


def between(old: Weights, new: Weights, share: float) -> Weights:
    """Return a mixture of weights: `share` of the new ones, and of the old ones the rest.

    Whole numbers are rounded to the nearest, and flags are the likelier of both. A share beyond 1
    moves numbers further, and takes the rest from the new ones.
    """
    if share == 1:
        return new
    if share < 1:
        mean = RunningMean()
        mean.add(old, 1 - share)
        mean.add(new, share)
        return mean.mean()
    return {
        name: (array + share * (new[name].astype(np.float64) - array)).astype(array.dtype)
        if np.issubdtype(array.dtype, np.floating)
        else new[name]
        for name, array in old.items()
    }


def as_if_fresh(
    weights: Weights, arrivals: Iterator[Arrival], weigh: Weigh, trained: frozenset[str]
) -> Iterator[tuple[Weights, int]]:
    """Yield, for each arrival, weights as if it had been trained from the present ones, and rows.

    The change of a stale update is weighed, and added to the present weights. Entries that no
    gradient trains are mixed in the same proportion, so that a variance stays positive.
    """
    for arrival in arrivals:
        sent, share = arrival.update.weights, weigh(arrival.staleness)
        if arrival.staleness or share != 1:
            mixed = between(weights, sent, share)
            sent = {
                name: _moved(array, sent[name], arrival.start[name], share)
                if name in trained
                else mixed[name]
                for name, array in weights.items()
            }
        yield sent, arrival.update.num_examples


def _moved(now: np.ndarray, sent: np.ndarray, start: np.ndarray, share: float) -> np.ndarray:
    """Return an entry moved by the share of an update's change."""
    moved: np.ndarray = (now + share * (sent.astype(np.float64) - start)).astype(now.dtype)
    return moved
