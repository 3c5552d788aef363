"""Robust rules on entries of all dtypes: counters, booleans, complex numbers, large arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from weight_tables import fused, krum_order, some, updates

from fusion_nb.core import arithmetic
from fusion_nb.core.types import Update, Weights


#: Weights with everything that a model's state may hold.
def full(counter: int, value: float) -> Weights:
    return {
        "w": np.full((3,), value, np.float32),
        "half": np.full((2,), value, np.float16),
        "count": np.array(counter, np.int64),
        "small": np.array([counter % 100], np.uint8),
        "mask": np.array([value > 1, True]),
        "wave": np.array([value + 2j * value], np.complex64),
    }


EVERY = [
    *("median", "trimmed_mean", "krum", "multikrum", "bulyan", "geometric_median", "centered_clip"),
    *("bucketing:s=2+median", "bucketing:s=2+multikrum:f=0"),
]


class TestEntriesOfAllKinds:
    @pytest.mark.parametrize("name", EVERY)
    def test_counters_beyond_2_to_53_keep_their_last_digit(self, name: str) -> None:
        counter = 2**60 + 7
        given = [Update(f"party {i}", full(counter, 0.1 * i), 1) for i in range(8)]
        start = full(2**60, 0.0)
        found = fused(name, given, start)
        assert found["count"] == counter
        assert not arithmetic.misfit(found, start)

    def test_counters_are_medians_or_means_rounded(self) -> None:
        counts = [2**60 + step for step in (0, 1, 3, 4, 4, 5, 90)]
        given = [Update(f"party {i}", full(count, 1.0), 1) for i, count in enumerate(counts)]
        start = full(0, 1.0)
        for name in ("median", "geometric_median", "centered_clip"):
            assert fused(name, given, start)["count"] == 2**60 + 4, name
        assert fused("trimmed_mean", given, start)["count"] == 2**60 + 3  # (1 + 3 + 4 + 4 + 5) / 5
        assert fused("krum", given, start)["count"] == 2**60  # of equals, the first by name

    def test_krum_takes_one_party_as_a_whole(self) -> None:
        given = [
            Update(f"party {i}", full(i, value), 1)
            for i, value in enumerate((9.0, 1.0, 1.5, 2.0, -9.0))
        ]
        found = fused("krum", given, full(0, 0.0))
        assert any(arithmetic.equal(found, update.weights) for update in given[1:4])

    def test_complex_numbers_have_a_distance(self) -> None:
        start = {"wave": np.zeros(2, np.complex64)}
        rows = [{"wave": np.array([1j * k, 0], np.complex64)} for k in (0, 0.9, 1, 1.1, 50)]
        given = [Update(f"party {i}", row, 1) for i, row in enumerate(rows)]
        assert fused("krum", given, start)["wave"][0] == np.complex64(1j)
        assert abs(fused("geometric_median", given, start)["wave"][0] - 1j) < 0.1
        assert fused("median", given, start)["wave"][0] == np.complex64(1j)

    def test_entries_of_more_columns_than_are_read_together(self) -> None:
        rng = np.random.default_rng(0)
        start = {"w": np.zeros(70_001, np.float32)}
        rows = rng.normal(size=(5, 70_001)).astype(np.float32)
        given = [Update(f"party {i}", {"w": row}, 1) for i, row in enumerate(rows)]
        assert np.array_equal(fused("median", given, start)["w"], np.median(rows, axis=0))
        chosen = rows[krum_order(rows.astype(np.float64), 1)[0]]
        assert np.array_equal(fused("krum", given, start)["w"], chosen)

    @pytest.mark.parametrize("name", EVERY)
    def test_the_number_of_rows_has_no_influence(self, name: str) -> None:
        given = updates(some(8))
        claimed = [
            replace(update, num_examples=10**9 if i == 3 else 1) for i, update in enumerate(given)
        ]
        assert arithmetic.equal(fused(name, given), fused(name, claimed))
