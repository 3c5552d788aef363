"""Robust rules against a few lines of numpy, and against hostile numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from linear_parties import info_of
from weight_tables import (
    ORIGIN,
    START,
    bulyan,
    clipped,
    fused,
    krum_order,
    some,
    trimmed,
    updates,
    vector_of,
)

from fusion_nb.core import registry
from fusion_nb.errors import DivergedError


class TestRobustRules:
    @pytest.mark.parametrize("count", [7, 8, 13])
    def test_each_follows_its_paper(self, count: int) -> None:
        table = some(count, count)
        order = krum_order(table, 1)
        expected = {
            "median": np.median(table, axis=0),
            "trimmed_mean:beta=0.3": trimmed(table, int(0.3 * count)),
            "krum": table[order[0]],
            "krum:f=2": table[krum_order(table, 2)[0]],
            "multikrum": table[order[: count - 1]].mean(axis=0),
            "multikrum:f=2,m=3": table[krum_order(table, 2)[:3]].mean(axis=0),
            "bulyan": bulyan(table, 1),
            "centered_clip:tau=1.5": clipped(table, 1.5, 1, 1),
            "centered_clip:tau=1.5,iterations=4": clipped(table, 1.5, 4, 1),
        }
        for name, vector in expected.items():
            assert np.allclose(fused(name, table), vector, atol=1e-12), name

    def test_a_share_is_cut_off_however_it_is_rounded(self) -> None:
        assert 0.29 * 100 < 29
        assert np.allclose(fused("trimmed_mean:0.29", some(100)), trimmed(some(100), 29))
        assert np.allclose(fused("trimmed_mean:0.4999999999", some(4)), trimmed(some(4), 1))

    def test_the_geometric_median_has_the_least_distances(self) -> None:
        table = some(9)
        found = fused("geometric_median", table)
        units = [(row - found) / np.linalg.norm(row - found) for row in table]
        assert np.linalg.norm(np.sum(units, axis=0)) < 0.05
        total = np.linalg.norm(table - found, axis=1).sum()
        nearby = found + np.random.default_rng(1).normal(0, 0.05, (50, 10))
        assert all(np.linalg.norm(table - other, axis=1).sum() > total for other in nearby)

    def test_the_geometric_median_is_where_most_parties_are(self) -> None:
        table = some(7)
        table[:4] = table[0]
        assert np.allclose(fused("geometric_median", table), table[0], atol=1e-4)

    def test_a_party_that_sends_no_change_does_not_hold_the_geometric_median(self) -> None:
        table = np.vstack([ORIGIN, 3 + some(8)])
        far = np.linalg.norm(fused("geometric_median", table) - ORIGIN)
        assert far > 0.9 * np.linalg.norm(fused("geometric_median", table[1:]) - ORIGIN)

    def test_one_mean_with_a_large_nu_is_the_mean(self) -> None:
        table = some(6)
        assert np.allclose(fused("geometric_median:nu=1e6,iterations=1", table), table.mean(axis=0))

    def test_clipping_starts_from_the_last_centre(self) -> None:
        table = some(8) + 4
        assert np.allclose(
            fused("centered_clip:tau=1.5", table, rounds=3), clipped(table, 1.5, 1, 3)
        )

    def test_clipping_without_a_tau_clips_at_the_median_distance(self) -> None:
        table = some(9)
        tau = float(np.median(np.linalg.norm(table - ORIGIN, axis=1)))
        assert np.allclose(fused("centered_clip", table), clipped(table, tau, 1, 1))

    def test_statistics_have_no_centre_of_their_own(self) -> None:
        rule = registry.create("fusions", "centered_clip:tau=1")
        info = info_of(START, 4, statistics=["b"])
        result, state = rule.aggregate(START, iter(updates(some(4) + 9)), rule.init(START, info))
        assert set(state["centre"]) == {"a"}
        centre = vector_of({**state["centre"], "b": np.zeros(4)})
        again, _ = rule.aggregate(START, iter(updates(np.tile(ORIGIN, (4, 1)))), state)
        # A part of the centre is left; statistics, which no party moved now, are those of the
        # weights.
        assert np.linalg.norm(centre) <= 1 + 1e-12
        assert np.array_equal(again["b"], START["b"])
        assert not np.array_equal(result["b"], START["b"])

    @pytest.mark.parametrize(
        ("name", "plain"),
        [
            ("trimmed_mean:beta=0", "iter_avg"),
            ("multikrum:f=1,m=9", "iter_avg"),
            ("multikrum:f=0", "iter_avg"),
            ("bulyan:f=0", "iter_avg"),
            ("centered_clip:tau=1e9", "iter_avg"),
            ("multikrum:f=2,m=1", "krum:f=2"),
            ("bucketing:s=1+median", "median"),
            ("bucketing:s=1+iter_avg", "iter_avg"),
            ("bucketing:s=1+krum", "krum"),
            ("bucketing:s=9+geometric_median", "iter_avg"),
        ],
    )
    def test_each_is_a_plain_rule_with_some_options(self, name: str, plain: str) -> None:
        assert np.allclose(fused(name, some(9)), fused(plain, some(9)), atol=1e-9)


#: Rules that tolerate two hostile parties of eleven.
STANDING = [
    *(
        "median",
        "trimmed_mean:beta=0.2",
        "krum:f=2",
        "multikrum:f=2",
        "bulyan:f=2",
        "geometric_median",
    ),
    *(
        "centered_clip",
        "centered_clip:tau=2",
        "bucketing:s=2+median",
        "bucketing:s=2+geometric_median",
    ),
]


#: Numbers of hostile parties; those of honest parties are near 0.8.
OUTLIERS = [1e3, -1e9, 1e120, 1e200]


class TestHostileNumbers:
    @pytest.mark.parametrize("name", STANDING)
    @pytest.mark.parametrize("outlier", OUTLIERS)
    def test_two_hostile_of_eleven_hardly_move_the_result(self, name: str, outlier: float) -> None:
        honest = some(9)
        table = np.vstack(
            [honest[:4], np.full(10, outlier), honest[4:], outlier * np.arange(1, 11)]
        )
        found = fused(name, table)
        reach = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
        assert np.linalg.norm(found - honest.mean(axis=0)) < 1.5 * reach
        assert np.abs(fused("iter_avg", table) - honest.mean(axis=0)).max() > 10 * reach

    @pytest.mark.parametrize(
        "name", ["median", "trimmed_mean:0.2", "krum:f=2", "multikrum:f=2", "bulyan:f=2"]
    )
    def test_no_number_leaves_the_range_of_the_honest(self, name: str) -> None:
        for seed, outlier in itertools.product(range(5), (5.0, -1e6)):
            honest = some(9, seed)
            found = fused(name, np.vstack([honest, np.full((2, 10), outlier)]))
            assert (found >= honest.min(axis=0)).all()
            assert (found <= honest.max(axis=0)).all()

    def test_bulyan_limits_single_numbers_of_a_party_that_krum_trusts(self) -> None:
        honest = some(10)
        near = honest.mean(axis=0)
        near[3] += 1.8  # so near as a whole that krum takes it
        table = np.vstack([honest, near])
        assert np.array_equal(fused("krum:f=2", table), near)
        assert abs(fused("bulyan:f=2", table)[3] - honest[:, 3].mean()) < 0.9

    def test_all_parties_infinitely_far_away_is_an_error(self) -> None:
        with pytest.raises(DivergedError, match="no distance is finite"):
            fused("geometric_median", np.full((3, 10), 1e200))
