"""Bucketing: means of a few parties for the rule after it."""

from __future__ import annotations

import numpy as np
import pytest
from weight_tables import ORIGIN, clipped, fused, some, updates

from fusion_nb.core import arithmetic, seeds


class TestBucketing:
    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_buckets_are_means_of_parties_in_a_random_order(self, size: int) -> None:
        table = some(8)
        orders = [seeds.stream(0, "bucketing", number).permutation(8) for number in range(2)]
        for rounds, order in enumerate(orders, 1):
            buckets = np.array([table[order[i : i + size]].mean(axis=0) for i in range(0, 8, size)])
            found = fused(f"bucketing:s={size}+median", table, rounds=rounds)
            assert np.allclose(found, np.median(buckets, axis=0))
        assert not np.array_equal(*orders)

    def test_who_is_in_a_bucket_does_not_depend_on_who_answers_first(self) -> None:
        given = updates(some(8))
        orders = [given[i:] + given[:i] for i in range(8)]
        assert all(
            arithmetic.equal(fused("bucketing+krum:f=0", order), fused("bucketing+krum:f=0", given))
            for order in orders
        )

    def test_bucketing_keeps_the_state_of_the_inner_rule(self) -> None:
        table = some(6) + 3
        found = fused("bucketing:s=1+centered_clip:tau=1", table, rounds=3)
        assert np.allclose(found, clipped(table, 1.0, 1, 3))

    def test_bucketing_brings_krum_nearer_to_the_mean_of_unlike_parties(self) -> None:
        table = ORIGIN + np.eye(10)  # no two of them moved the same

        def error(name: str) -> float:
            return float(np.square(fused(name, table) - table.mean(axis=0)).sum())

        assert error("krum") == pytest.approx(1 - 1 / 10)
        assert error("bucketing:s=2+krum") == pytest.approx(1 / 2 - 1 / 10)
