"""Values of parties from the values of coalitions: Shapley's, and by leaving one out.

Lloyd S. Shapley, "A value for n-person games", Contributions to the Theory of Games II, 1953. Of
federations: Guan Wang, Charlie Xiaoqian Dang and Ziye Zhou, "Measure contribution of participants
in federated learning", IEEE Big Data 2019. Sampled by orders of the parties: Javier Castro, Daniel
Gómez and Juan Tejada, "Polynomial calculation of the Shapley value based on sampling", Computers &
Operations Research 36(5), 2009.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from fusion_nb.core import seeds
from fusion_nb.reporting.contributions import Contribution

Coalition = frozenset[str]
#: Returns the value of a coalition: how good the model is that its parties train.
Value = Callable[[Coalition], float]


def coalitions(parties: Sequence[str], orders: Sequence[Sequence[str]] | None) -> list[Coalition]:
    """Return the coalitions of which Shapley values need the value, the empty one first.

    orders: in which parties join, or None for all coalitions
    """
    if orders is None:
        sizes = range(len(parties) + 1)
        found = [c for size in sizes for c in itertools.combinations(parties, size)]
    else:
        found = [tuple(order[:size]) for order in orders for size in range(len(order) + 1)]
    return list(dict.fromkeys(frozenset(each) for each in found))


def sample_orders(parties: Sequence[str], count: int, seed: int) -> list[list[str]]:
    """Return that many orders of the parties."""
    rng = seeds.stream(seed, "contribution")
    return [[parties[i] for i in rng.permutation(len(parties))] for _ in range(count)]


def shapley(parties: Sequence[str], value: Value) -> dict[str, Contribution]:
    """Return the exact Shapley values.

    >>> gloves = lambda c: float("left" in c and ("right 1" in c or "right 2" in c))
    >>> found = shapley(["left", "right 1", "right 2"], gloves)
    >>> [round(each.value, 3) for each in found.values()]
    [0.667, 0.167, 0.167]
    """
    num, found = len(parties), {}
    for party in parties:
        others = [other for other in parties if other != party]
        total = 0.0
        for size in range(num):
            weight = math.factorial(size) * math.factorial(num - size - 1) / math.factorial(num)
            for joined in itertools.combinations(others, size):
                before = frozenset(joined)
                total += weight * (value(before | {party}) - value(before))
        found[party] = Contribution(total, total, total)
    return found


def sampled_shapley(orders: Sequence[Sequence[str]], value: Value) -> dict[str, Contribution]:
    """Return estimates of the Shapley values, with intervals of 95 % by Student's t."""
    from scipy.stats import t

    gains: dict[str, list[float]] = {party: [] for party in sorted(orders[0])}
    for order in orders:
        for place, party in enumerate(order):
            before = frozenset(order[:place])
            gains[party].append(value(before | {party}) - value(before))
    count = len(orders)
    factor = float(t.ppf(0.975, count - 1)) / math.sqrt(count)
    found = {}
    for party, each in gains.items():
        mean, half = float(np.mean(each)), factor * float(np.std(each, ddof=1))
        found[party] = Contribution(mean, mean - half, mean + half)
    return found


def leave_one_out(parties: Sequence[str], value: Value) -> dict[str, Contribution]:
    """Return by how much the value of all parties is higher than that without each."""
    everyone = frozenset(parties)
    gains = {party: value(everyone) - value(everyone - {party}) for party in parties}
    return {party: Contribution(gain, gain, gain) for party, gain in gains.items()}
