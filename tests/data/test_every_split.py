"""The contract of every registered split."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_nb.core import registry
from fusion_nb.errors import SplitError


def some_labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 10, 500)


def parts_of(name: str, seed: int, num_parties: int = 5) -> list[np.ndarray]:
    split, options = registry.bind("splits", name + (":key=k" if name == "by_key" else ""))
    if name == "by_key":
        options["key"] = np.random.default_rng(2).integers(0, 7, 500)
    return split(some_labels(), num_parties, np.random.default_rng(seed), **options)


SPLITS = [name for name in registry.names("splits") if not registry.is_open("splits", name)]


@pytest.mark.parametrize("name", SPLITS)
class TestEverySplit:
    def test_it_gives_every_row_once(self, name: str) -> None:
        parts = parts_of(name, 0)
        assert len(parts) == 5
        assert sorted(np.concatenate(parts)) == list(range(500))

    def test_same_seed_same_split(self, name: str) -> None:
        assert all(
            np.array_equal(a, b) for a, b in zip(parts_of(name, 3), parts_of(name, 3), strict=True)
        )

    def test_one_party_gets_everything(self, name: str) -> None:
        assert [len(part) for part in parts_of(name, 0, num_parties=1)] == [500]

    def test_it_explains_itself(self, name: str) -> None:
        assert registry.get("splits", name).__doc__


def test_a_split_refuses_measurements_where_it_needs_classes() -> None:
    split, options = registry.bind("splits", "dirichlet")
    with pytest.raises(SplitError, match="measurements"):
        split(np.linspace(0, 1, 50), 3, np.random.default_rng(0), **options)
