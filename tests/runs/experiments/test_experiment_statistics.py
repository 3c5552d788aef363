"""Means with bands, signed-rank tests, and corrections for several tests."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fusion_nb.runs.experiments import statistics


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 9, 15])
@pytest.mark.parametrize("seed", [0, 1])
def test_p_is_that_of_scipy(n: int, seed: int) -> None:
    from scipy import stats

    d = np.random.default_rng(seed).normal(0.4, size=n)
    p, count = statistics.wilcoxon(list(d))
    assert count == n
    assert p == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)


def test_p_of_ties_is_that_of_all_signs() -> None:
    d = [1.0, 1.0, 1.0, -1.0, 2.0, 2.0]
    ranks = [2.5, 2.5, 2.5, 2.5, 5.5, 5.5]
    sums = [
        sum(r for r, bit in zip(ranks, format(i, "06b"), strict=True) if bit == "1")
        for i in range(64)
    ]
    observed = sum(r for r, x in zip(ranks, d, strict=True) if x > 0)
    extreme = min(observed, 21 - observed)
    expected = min(1.0, 2 * sum(s <= extreme for s in sums) / 64)
    p, count = statistics.wilcoxon(d)
    assert p == pytest.approx(expected)
    assert count == 6


@pytest.mark.parametrize("d", [[], [0.0, 0.0], [math.nan]])
def test_no_pair_that_differs_tells_nothing(d: list[float]) -> None:
    assert statistics.wilcoxon(d) == (1.0, 0)


def test_many_pairs_use_the_normal_distribution() -> None:
    from scipy import stats

    d = np.random.default_rng(0).normal(0.3, size=80)
    p, _ = statistics.wilcoxon(list(d))
    assert p == pytest.approx(stats.wilcoxon(d, method="approx").pvalue, rel=0.02)


@pytest.mark.parametrize(("n", "p"), [(1, 1.0), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_the_smallest_p_is_told(n: int, p: float) -> None:
    assert statistics.smallest_p(n) == p
    assert statistics.wilcoxon([float(i + 1) for i in range(n)])[0] == p


def test_holm_is_that_of_the_textbook() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([]) == []
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


def test_a_band_is_a_sample_standard_deviation() -> None:
    found = statistics.spread([1.0, 2.0, 3.0, math.nan])
    assert (found.mean, found.low, found.high, found.n) == (2.0, 1.0, 3.0, 3)


def test_a_bootstrap_holds_the_mean_and_is_the_same_again() -> None:
    values = list(np.random.default_rng(0).normal(size=30))
    found = statistics.spread(values, "bootstrap")
    assert found.low < found.mean < found.high
    assert found == statistics.spread(values, "bootstrap")
    # The interval of a mean of normal values is that of 1.96 standard errors, nearly.
    assert found.high - found.low == pytest.approx(2 * 1.96 * found.std / math.sqrt(30), rel=0.15)


@pytest.mark.parametrize("band", ["std", "bootstrap"])
def test_one_value_has_no_band(band: str) -> None:
    found = statistics.spread([0.5], band)
    assert found.mean == 0.5
    assert math.isnan(found.low)
    assert math.isnan(statistics.spread([], band).mean)
