"""The mean in blocks: how exact it is, and that it does not depend on cores or on its grouping."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from fusion_nb.core.running_mean import RunningMean, in_blocks

NUM_DRAWS = 10_000


def mean_of(arrays: Sequence[np.ndarray], shares: Sequence[float]) -> np.ndarray:
    mean = RunningMean()
    for array, share in zip(arrays, shares, strict=True):
        mean.add({"x": array}, share)
    return mean.mean()["x"]


def adversarial(rng: np.random.Generator, kind: str, size: tuple[int, int]) -> np.ndarray:
    """Return numbers (parties, draws) that are hard to add up."""
    signs = rng.choice([-1.0, 1.0], size)
    values = {
        "alike": 1 + rng.random(size),
        "just below a power of 2": 2 - rng.random(size) * 1e-3,
        "of any size": signs * 10.0 ** rng.uniform(-37, 37, size),
        "cancelling": signs * (1 + rng.random(size) * 1e-6),
        "one is huge": signs * np.where(rng.random(size) < 0.1, 1e30, 1.0),
        "nearly too large": signs * rng.uniform(1e38, 3.4e38, size),
        "subnormal": signs * rng.uniform(0, 1e-41, size),
        "beyond the square root": signs * rng.uniform(1e19, 1e25, size),
    }[kind]
    return values.astype(np.float32)


@pytest.mark.parametrize(
    "kind",
    [
        "alike",
        "just below a power of 2",
        "of any size",
        "cancelling",
        "one is huge",
        "nearly too large",
        "subnormal",
        "beyond the square root",
    ],
)
@pytest.mark.parametrize("shares_of", ["rows", "fractions", "one large", "tiny"])
def test_it_is_within_two_units_of_the_mean_in_float64(kind: str, shares_of: str) -> None:
    rng = np.random.default_rng(abs(hash((len(kind), len(shares_of)))) % 1000)
    for _ in range(8):
        parties = int(rng.choice([1, 2, 3, 15, 16, 17, 33, 70]))
        arrays = adversarial(rng, kind, (parties, NUM_DRAWS // 8 // 4))
        shares = {
            "rows": rng.integers(1, 100_000, parties).astype(float),
            "fractions": rng.random(parties) + 1e-3,
            "one large": np.where(np.arange(parties) == parties // 2, 1e12, 1.0),
            "tiny": rng.random(parties) * 1e-30 + 1e-33,
        }[shares_of]
        found = mean_of(arrays, shares.tolist())
        exact = (arrays.astype(np.float64) * shares[:, None]).sum(0) / shares.sum()
        unit = np.spacing(np.abs(arrays).max(0))
        assert found.dtype == np.float32
        assert float((np.abs(found - exact) / unit).max()) <= 2


@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 200_000)])
def test_it_does_not_depend_on_the_number_of_cores(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    arrays = [np.asarray(rng.normal(size=shape), np.float32) for _ in range(21)]
    found = []
    for cores in (1, 2, 7):
        monkeypatch.setattr("fusion_nb.core.running_mean.num_cores", lambda cores=cores: cores)
        found.append(mean_of(arrays, range(1, 22)))
    assert found[0].shape == shape
    assert all(np.array_equal(found[0], other) for other in found)


@pytest.mark.parametrize("parties", [1, 3, 5, 16, 17, 40])
def test_numbers_in_which_all_parties_agree_stay_as_they_are(parties: int) -> None:
    rng = np.random.default_rng(parties)
    array = np.asarray(rng.normal(size=50_000) * 10.0 ** rng.uniform(-30, 30, 50_000), np.float32)
    for shares in (rng.random(parties) + 0.1, rng.integers(1, 10**6, parties), np.ones(parties)):
        assert np.array_equal(mean_of([array] * parties, shares.tolist()), array)


def test_arrays_in_any_order_of_memory_and_shares_of_zero() -> None:
    first = np.arange(12, dtype=np.float32).reshape(3, 4)
    found = mean_of([first.T.copy().T, first * 3, first[::-1]], [1, 1, 0])
    assert np.array_equal(found, first * 2)
    late = mean_of([first] * 20 + [first * 5], [0.0] * 20 + [2.0])
    assert np.array_equal(late, first * 5)


@pytest.mark.parametrize("shares", [[1, 1, 1], [3, 1, 2], [0.25, 0.25, 7.5]])
@pytest.mark.parametrize("size", [5, 300_000])
def test_blocks_add_as_one_row_in_float64_does(size: int, shares: list[float]) -> None:
    rng = np.random.default_rng(size)
    arrays = np.asarray(rng.normal(size=(3, size)), np.float32)
    arrays[:, 0] = -0.0
    total = np.zeros(size)
    for share, run in itertools.groupby(zip(shares, arrays, strict=True), lambda pair: pair[0]):
        total += share * sum(array.astype(np.float64) for _, array in run)
    expected = (total / sum(shares)).astype(np.float32)
    assert mean_of(arrays, shares).tobytes() == expected.tobytes()


def test_an_error_in_a_block_is_raised_whatever_core_it_was_on() -> None:
    def work(start: int, scratch: np.ndarray) -> None:
        if start:
            raise ValueError(f"block at {start}")

    with pytest.raises(ValueError, match="block at"):
        in_blocks(work, 5_000_000)


@pytest.mark.parametrize("size", [3, 50_000, 4_000_000])
def test_the_users_buffers_of_numpy_stay_as_they_are(size: int) -> None:
    before = np.setbufsize(4096)
    try:
        mean_of([np.ones(size, np.float32)] * 3, [1, 1, 2])
        assert np.getbufsize() == 4096
        with pytest.raises(ValueError, match="block"):
            in_blocks(_refuse, size)
        assert np.getbufsize() == 4096
    finally:
        np.setbufsize(before)


def _refuse(start: int, scratch: np.ndarray) -> None:
    raise ValueError("block")
