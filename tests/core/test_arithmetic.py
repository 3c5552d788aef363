"""Arithmetic on named arrays: the streaming mean, distances, and the check of an array's form."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from fusion_nb.core import arithmetic
from fusion_nb.core.arithmetic import RunningMean


class TestRunningMean:
    def test_it_matches_numpy_in_float64(self) -> None:
        rng = np.random.default_rng(0)
        arrays = [rng.normal(size=(4, 3)).astype(np.float32) * 10.0**i for i in range(5)]
        mean = RunningMean()
        for i, array in enumerate(arrays):
            mean.add({"x": array}, i + 1)
        wide = np.stack(arrays).astype(np.float64)
        expected = np.average(wide, axis=0, weights=range(1, 6)).astype(np.float32)
        assert np.array_equal(mean.mean()["x"], expected)

    def test_integers_are_rounded_and_large_counters_keep_their_last_digit(self) -> None:
        mean = RunningMean()
        for value in (2**60 + 1, 2**60 + 1):
            mean.add({"n": np.array(value)}, 0.3)
        assert int(mean.mean()["n"]) == 2**60 + 1
        mean = RunningMean()
        for value, weight in ((10, 1), (20, 2)):
            mean.add({"n": np.array(value)}, weight)
        assert mean.mean()["n"].dtype == np.int64
        assert int(mean.mean()["n"]) == 17

    def test_unsigned_integers_do_not_wrap_around(self) -> None:
        mean = RunningMean()
        for value in (200, 100):
            mean.add({"n": np.array([value], dtype=np.uint8)}, 1)
        assert mean.mean()["n"].tolist() == [150]

    def test_complex_numbers_keep_their_imaginary_part(self) -> None:
        mean = RunningMean()
        mean.add({"z": np.array([1 + 2j], dtype=np.complex64)}, 1)
        mean.add({"z": np.array([3 + 4j], dtype=np.complex64)}, 1)
        assert mean.mean()["z"].tolist() == [2 + 3j]

    def test_memory_does_not_grow_with_the_number_of_weights(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fusion_nb.core.running_mean.num_cores", lambda: 2)
        size = 1 << 22
        tracemalloc.start()
        try:
            mean = RunningMean()
            array = np.ones(size, np.float32)
            for _ in range(40):
                mean.add({"x": array}, 1)
            mean.mean()
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 5 * 4 * size  # the array, the mean, its sum in float64, and scratch space

    def test_nothing_has_no_mean(self) -> None:
        with pytest.raises(ValueError, match="no updates"):
            RunningMean().mean()


def test_distance_norm_and_digest() -> None:
    a = {"x": np.array([3.0, 0.0]), "n": np.array(5)}
    b = {"x": np.array([0.0, 4.0]), "n": np.array(9)}
    assert arithmetic.distance(a, b) == 5.0
    assert arithmetic.norm(a) == 3.0
    assert arithmetic.digest(a) == arithmetic.digest(arithmetic.copy(a)) != arithmetic.digest(b)
    assert arithmetic.norm(arithmetic.zeros_like(a)) == 0
    assert arithmetic.num_bytes(a) == 24


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"y": np.zeros(2)}, "named differently"),
        ({"x": np.zeros(3)}, "shape"),
        ({"x": np.zeros(2, dtype=np.float32)}, "float32"),
        ({"x": np.array([0.0, np.nan])}, "not finite"),
        ({"x": np.zeros(2)}, ""),
    ],
)
def test_a_misfit_is_named(changed: arithmetic.Weights, problem: str) -> None:
    found = arithmetic.misfit(changed, {"x": np.ones(2)})
    assert (problem in found) if problem else not found


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble, np.complex64])
@pytest.mark.parametrize("shape", [(), (1,), (7, 9), (40, 50)])
@pytest.mark.parametrize("in_order", [True, False])
def test_one_number_that_is_not_finite_is_a_misfit(
    dtype: type[np.inexact], shape: tuple[int, ...], in_order: bool
) -> None:
    array = np.full(shape, np.finfo(dtype).max, dtype)  # whose sum and squares are too large
    array = array if in_order else array.T
    assert not arithmetic.misfit({"w": array}, {"w": array})
    for value in (np.nan, np.inf, -np.inf):
        spoilt = array.copy()
        spoilt[(-1,) * len(shape)] = value
        assert "not finite" in arithmetic.misfit({"w": spoilt}, {"w": array})


def test_infinities_of_both_signs_are_a_misfit() -> None:
    for size in (2, 1000):
        spoilt = np.tile(np.array([np.inf, -np.inf], np.float32), size // 2)
        assert arithmetic.misfit({"w": spoilt}, {"w": spoilt})


def test_bytes_are_counted_in_arrays_numbers_and_mappings_of_them() -> None:
    entries = {"a": np.zeros(3, np.float32), "b": {"c": np.float16(1), "d": 2}, "e": 0.5}
    assert arithmetic.num_bytes(entries) == 12 + 2 + 8 + 8


def test_some_of_the_entries_may_be_enough() -> None:
    like = {"x": np.ones(2), "y": np.ones(3)}
    assert not arithmetic.misfit({"y": np.zeros(3)}, like, partial=True)
    assert arithmetic.misfit({"y": np.zeros(3)}, like)
    assert arithmetic.misfit({"z": np.zeros(3)}, like, partial=True)


def test_the_mean_of_a_metric_counts_the_parties_that_have_it() -> None:
    metrics = {"a": {"loss": 1.0}, "b": {"loss": 4.0}, "c": {}}
    assert arithmetic.metric_mean(metrics, {"a": 2, "b": 1, "c": 9}, "loss") == 2.0
    assert np.isnan(arithmetic.metric_mean(metrics, {"a": 2, "b": 1, "c": 9}, "accuracy"))


def test_halves_are_rounded_up() -> None:
    assert [arithmetic.round_half_up(value) for value in (0.49, 0.5, 1.5, 2.5)] == [0, 1, 2, 3]
