"""Paired tests of settings over the seeds that they share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusion_nb.runs.experiments import statistics
from fusion_nb.runs.experiments.statistics import ALPHA

#: Values closer than this share of them are the same: trackers keep 32 bits, and engines that
#: train several parties at once differ in the last digits.
_SAME = 1e-6
#: Values of one metric by seed. Runs of one setting that share a seed have one value: their mean.
BySeed = Mapping[int, float]


@dataclass(frozen=True)
class PairedTest:
    """A paired test of the best setting against another one, over the seeds that both have.

    p: two-sided, of Wilcoxon's signed-rank test;  adjusted: for the number of tests, by Holm
    n: pairs that differ;  pairs: seeds of which both have a value
    favours_best: whether the ranks of the pairs favour the setting with the best mean
    """

    best: str
    other: str
    p: float
    adjusted: float
    n: int
    pairs: int = 0
    favours_best: bool = True

    @property
    def is_significant(self) -> bool:
        """Whether the two are told apart, whichever of them is better."""
        return self.adjusted < ALPHA

    @property
    def tells_best(self) -> bool:
        """Whether the setting with the best mean is told to be better than the other one."""
        return self.is_significant and self.favours_best


def by_seed(values: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Return one finite value for each seed: the mean, where several runs have it.

    >>> by_seed([(0, 1.0), (1, 2.0), (1, 4.0), (2, float("nan"))])
    {0: 1.0, 1: 3.0}
    """
    found: dict[int, list[float]] = {}
    for seed, value in values:
        if math.isfinite(value):
            found.setdefault(seed, []).append(value)
    return {seed: sum(each) / len(each) for seed, each in found.items()}


def against_best(
    settings: Mapping[str, BySeed], order: Sequence[str], sign: float
) -> list[PairedTest]:
    """Return a test of the first setting against each of the others.

    order: the settings, the best mean first;  sign: 1 for a metric that is better when higher
    """
    best, *others = order
    found = []
    for other in others:
        a, b = settings[best], settings[other]
        shared = [seed for seed in a if seed in b]
        gains = [sign * _difference(a[seed], b[seed]) for seed in shared]
        found.append((other, gains, *statistics.wilcoxon(gains)))
    adjusted = statistics.holm([p for _, _, p, _ in found])
    return [
        PairedTest(best, other, p, p_adjusted, n, len(gains), statistics.favours_positive(gains))
        for (other, gains, p, n), p_adjusted in zip(found, adjusted, strict=True)
    ]


def _difference(a: float, b: float) -> float:
    """Return the difference of two values; 0 where they are the same but for the last digits."""
    return 0.0 if math.isclose(a, b, rel_tol=_SAME) else a - b
