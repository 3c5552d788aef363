"""Means over seeds with their spread, and paired tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Samples of a bootstrap, and the share of them that its interval holds.
_SAMPLES, _SHARE = 2000, 0.95
#: A difference is told from chance below this probability.
ALPHA = 0.05
#: Pairs below which a test is told to say little.
FEW_PAIRS = 5
#: Pairs up to which the distribution of ranks is computed exactly.
_MAX_EXACT = 60


@dataclass(frozen=True)
class Spread:
    """A mean of `n` finite values, with an interval around it; NaN where there is none."""

    mean: float
    low: float
    high: float
    std: float
    n: int


def spread(values: Sequence[float], band: str = "std") -> Spread:
    """Return the mean of the finite values with its band.

    band: `std`: one sample standard deviation to each side; `bootstrap`: the 95 % interval of the
          mean, from percentiles of resampled means (Efron, Tibshirani: An Introduction to the
          Bootstrap, 1993). The same values have the same interval.
    A single value has no spread: its band is NaN.

    >>> spread([1.0, 3.0]).mean
    2.0
    """
    finite = np.asarray([value for value in values if math.isfinite(value)], dtype=float)
    if not len(finite):
        return Spread(math.nan, math.nan, math.nan, math.nan, 0)
    mean = float(finite.mean())
    if len(finite) == 1:
        return Spread(mean, math.nan, math.nan, math.nan, 1)
    std = float(finite.std(ddof=1))
    low, high = mean - std, mean + std
    if band == "bootstrap":
        draws = np.random.default_rng(0).integers(0, len(finite), (_SAMPLES, len(finite)))
        edge = 100 * (1 - _SHARE) / 2
        low, high = map(float, np.percentile(finite[draws].mean(axis=1), [edge, 100 - edge]))
    return Spread(mean, low, high, std, len(finite))


def spreads(rows: np.ndarray, band: str = "std") -> np.ndarray:
    """Return what `spread` tells of each row at once: an array (rows, 3) of mean, low and high.

    rows: values (rows, runs), NaN where a run has none
    """
    found = np.full((len(rows), 3), math.nan)
    counts = np.isfinite(rows).sum(1)
    for n in np.unique(counts[counts > 0]).tolist():
        chosen = counts == n
        some = rows[chosen]
        finite = some[np.isfinite(some)].reshape(-1, n)
        mean = finite.mean(1)
        low = high = np.full(len(mean), math.nan)
        if n > 1 and band == "bootstrap":
            low, high = _intervals(finite)
        elif n > 1:
            std = finite.std(1, ddof=1)
            low, high = mean - std, mean + std
        found[chosen] = np.stack([mean, low, high], 1)
    return found


def _intervals(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bootstrap's interval of each row's mean; see `spread`."""
    n = values.shape[1]
    draws = np.random.default_rng(0).integers(0, n, (_SAMPLES, n))
    shares = np.stack([(draws == run).sum(1) for run in range(n)]) / n
    edge = 100 * (1 - _SHARE) / 2
    low, high = np.percentile(values @ shares, [edge, 100 - edge], axis=1)
    return low, high


def wilcoxon(differences: Sequence[float]) -> tuple[float, int]:
    """Return the two-sided p of a signed-rank test, and the number of pairs that differ.

    F. Wilcoxon: Individual Comparisons by Ranking Methods, Biometrics Bulletin 1945. The
    distribution is exact, ties included; pairs without a difference are left out. Without any
    pair, p is 1.

    >>> wilcoxon([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    (0.03125, 6)
    """
    d = _that_differ(differences)
    n = len(d)
    if not n:
        return 1.0, 0
    ranks = _doubled_ranks(d)
    positive = sum(rank for rank, x in zip(ranks, d, strict=True) if x > 0)
    total = sum(ranks)
    extreme = min(positive, total - positive)
    if n > _MAX_EXACT:
        variance = sum(rank * rank for rank in ranks) / 4
        z = (extreme - total / 2) / math.sqrt(variance)
        return math.erfc(abs(z) / math.sqrt(2)), n
    ways = np.zeros(total + 1)
    ways[0] = 1
    for rank in ranks:
        ways[rank:] = ways[rank:] + ways[: total + 1 - rank]
    share = float(ways[: extreme + 1].sum()) / 2.0**n
    return min(1.0, 2 * share), n


def favours_positive(differences: Sequence[float]) -> bool:
    """Return whether the ranks of positive differences sum to more than those of negative ones.

    >>> favours_positive([-0.1, -0.2, 5.0, -0.3])
    False
    """
    d = _that_differ(differences)
    ranks = _doubled_ranks(d)
    return sum(rank if x > 0 else -rank for rank, x in zip(ranks, d, strict=True)) > 0


def _that_differ(differences: Sequence[float]) -> np.ndarray:
    return np.asarray([x for x in differences if math.isfinite(x) and x != 0], dtype=float)


def _doubled_ranks(differences: np.ndarray) -> list[int]:
    """Return twice the ranks of the sizes, which are whole numbers where ties share one.

    Sizes that differ in the last digits alone are ties: 0.3 - 0.2 and 0.2 - 0.1 are.
    """
    if not len(differences):
        return []
    size = np.abs(differences)
    size = np.round(size / size.max(), 12)
    return [int((size < x).sum() * 2 + (size == x).sum() + 1) for x in size]


def smallest_p(n: int) -> float:
    """Return the smallest p that a two-sided test of that number of pairs can have.

    >>> smallest_p(5)
    0.0625
    """
    return min(1.0, 2.0 ** (1 - n))


def pairs_needed(num_tests: int) -> int:
    """Return the pairs below which none of that number of tests can be significant after `holm`.

    >>> pairs_needed(1), pairs_needed(5)
    (6, 8)
    """
    return next(n for n in range(1, 100) if num_tests * smallest_p(n) < ALPHA)


def holm(probabilities: Sequence[float]) -> list[float]:
    """Return probabilities of several tests, adjusted for their number.

    S. Holm: A Simple Sequentially Rejective Multiple Test Procedure, Scand. J. Statist. 1979.

    >>> holm([0.01, 0.04])
    [0.02, 0.04]
    """
    order = sorted(range(len(probabilities)), key=lambda i: probabilities[i])
    adjusted, highest = [0.0] * len(probabilities), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - place) * probabilities[i]))
        adjusted[i] = highest
    return adjusted
