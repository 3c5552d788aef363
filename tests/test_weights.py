from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

from fusion_nb.algorithms import fusions
from fusion_nb.algorithms.fusions.averaging import fedavg, iter_avg
from fusion_nb.algorithms.fusions.base import promote
from fusion_nb.core import arithmetic as w
from fusion_nb.core import seeds
from fusion_nb.core.types import Update
from fusion_nb.errors import OptionError


def test_fedavg_weighs_by_examples_and_iter_avg_does_not() -> None:
    given = [
        Update("a", {"x": np.array([0.0, 2.0])}, 1),
        Update("b", {"x": np.array([4.0, 6.0])}, 3),
    ]
    assert fedavg().fuse({}, iter(given), None)[0]["x"].tolist() == [3.0, 5.0]
    assert iter_avg().fuse({}, iter(given), None)[0]["x"].tolist() == [2.0, 4.0]


def test_the_mean_matches_numpy_in_float64() -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(4, 3)).astype(np.float32) * 10.0**i for i in range(5)]
    mean = w.RunningMean()
    for i, array in enumerate(arrays):
        mean.add({"x": array}, i + 1)
    expected = np.average(np.stack(arrays).astype(np.float64), axis=0, weights=range(1, 6)).astype(
        np.float32
    )
    assert np.array_equal(mean.mean()["x"], expected)


def test_integers_are_rounded_and_large_counters_keep_their_last_digit() -> None:
    mean = w.RunningMean()
    for value in (2**60 + 1, 2**60 + 1):
        mean.add({"n": np.array(value)}, 0.3)
    assert int(mean.mean()["n"]) == 2**60 + 1
    mean = w.RunningMean()
    for value, weight in ((10, 1), (20, 2)):
        mean.add({"n": np.array(value)}, weight)
    assert mean.mean()["n"].dtype == np.int64
    assert int(mean.mean()["n"]) == 17


def test_unsigned_integers_do_not_wrap_around() -> None:
    mean = w.RunningMean()
    for value in (200, 100):
        mean.add({"n": np.array([value], dtype=np.uint8)}, 1)
    assert mean.mean()["n"].tolist() == [150]


def test_complex_numbers_keep_their_imaginary_part() -> None:
    mean = w.RunningMean()
    mean.add({"z": np.array([1 + 2j], dtype=np.complex64)}, 1)
    mean.add({"z": np.array([3 + 4j], dtype=np.complex64)}, 1)
    assert mean.mean()["z"].tolist() == [2 + 3j]


def test_the_mean_keeps_one_accumulator() -> None:
    mean = w.RunningMean()
    for i in range(50):
        mean.add({"x": np.full(10, float(i))}, 1)
    held = [a for part in (mean._sums, mean._anchors) for a in part.values()]
    assert len(held) == 1


def test_the_mean_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no updates"):
        w.RunningMean().mean()


def test_distance_norm_and_digest() -> None:
    a, b = (
        {"x": np.array([3.0, 0.0]), "n": np.array(5)},
        {"x": np.array([0.0, 4.0]), "n": np.array(9)},
    )
    assert w.distance(a, b) == 5.0
    assert w.norm(a) == 3.0
    assert w.digest(a) == w.digest(w.copy(a)) != w.digest(b)
    assert w.norm(w.zeros_like(a)) == 0
    assert w.num_bytes(a) == 24


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"y": np.zeros(2)}, "named differently"),
        ({"x": np.zeros(3)}, "shape"),
        ({"x": np.zeros(2, dtype=np.float32)}, "float32"),
        ({"x": np.array([0.0, np.nan])}, "not finite"),
        ({"x": np.zeros(2)}, ""),
    ],
)
def test_misfit_says_what_is_wrong(changed: w.Weights, said: str) -> None:
    problem = w.misfit(changed, {"x": np.ones(2)})
    assert (said in problem) if said else not problem


def test_streams_depend_on_their_key_alone() -> None:
    assert seeds.stream(0, "a", 1).integers(1 << 30) == seeds.stream(0, "a", 1).integers(1 << 30)
    numbers = {
        seeds.number(seed, *key) for seed in (0, 1) for key in (("a", 1), ("a", 2), ("b", 1))
    }
    assert len(numbers) == 6
    assert all(0 <= number < 2**63 for number in numbers)


def test_a_class_becomes_a_fusion_and_other_things_do_not() -> None:
    class Keep:
        local = MappingProxyType({})

        def init(self, weights):
            return 0

        def fuse(self, weights, updates, state):
            return weights, state + len(list(updates))

    assert promote(Keep)().fuse({}, iter([Update("a", {}, 1)]), 0) == ({}, 1)
    with pytest.raises(OptionError, match="no local"):
        promote(type("Half", (), {"init": 1, "fuse": 2}))
    with pytest.raises(OptionError, match="can't be a fusion"):
        promote(lambda updates: {})
    assert fusions.__doc__
