"""The costs of runs: rounds, bytes, gradient steps, seconds and epsilon, until each round."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from fusion_nb.runs.experiments.comparing.entries import Entry

#: The quantity that curves are drawn against -> the label of the axis.
AXES = {
    "round": "round",
    "bytes": "MB sent, up and down",
    "steps": "gradient steps of all parties",
    "seconds": "seconds",
    "epsilon": "epsilon",
}


def until_each_round(entry: Entry, cost: str) -> list[float]:
    """Return a cost until the end of each round; NaN where it is not known."""
    history = entry.history
    known: dict[str, Callable[[], Sequence[float]]] = {
        "round": lambda: [record.round for record in history],
        "bytes": lambda: [count / 1e6 for count in history.bytes_sent()],
        "steps": lambda: list(itertools.accumulate(entry.steps or ())),
        "seconds": lambda: list(itertools.accumulate(record.seconds for record in history)),
        "epsilon": lambda: history["epsilon"] if "epsilon" in history.metrics() else [],
    }
    return list(known[cost]()) or [math.nan] * len(history)


def total(entry: Entry, cost: str) -> float:
    """Return the cost of a whole run; NaN where it is not known."""
    return next(reversed(until_each_round(entry, cost)), math.nan)


def mean(values: Sequence[float]) -> float:
    """Return the mean of the finite values, NaN without any."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def mean_places(entries: Sequence[Entry], cost: str) -> list[float]:
    """Return the mean cost of runs until the end of each round; NaN where it is not known.

    Where some end early, a round costs the mean of the runs that have it, so that the places never
    go back after those that cost more in each round.
    """
    of_runs = [until_each_round(entry, cost) for entry in entries]
    if len({len(costs) for costs in of_runs}) == 1:
        return [mean(of_round) for of_round in zip(*of_runs, strict=True)]
    steps = [[b - a for a, b in itertools.pairwise([0.0, *costs])] for costs in of_runs]
    means = [
        mean([step for step in of_round if step is not None])
        for of_round in itertools.zip_longest(*steps)
    ]
    return list(itertools.accumulate(means))
