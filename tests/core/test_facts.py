"""Facts about parts of the data, put together, are those of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_nb.core.facts import Facts

RNG = np.random.default_rng(0)
WHOLES = {
    "integers": RNG.integers(-3, 9, 40),
    "fractions": RNG.normal(size=40),
    "whole floats": RNG.integers(0, 5, 40).astype(float),
    "bytes": RNG.integers(0, 256, (40, 3)).astype(np.uint8),
    "one-hot": np.eye(4)[RNG.integers(0, 4, 40)],
    "several flags": RNG.integers(0, 2, (40, 4)),
    "shares": RNG.dirichlet(np.ones(3), 40).astype(np.float32),
    "text": np.array(["b", "a"] * 20),
    "many values": np.arange(4000),
    "booleans": RNG.integers(0, 2, 40).astype(bool),
}


@pytest.mark.parametrize("name", WHOLES)
@pytest.mark.parametrize("cuts", [[10, 20], [1]])
def test_a_union_is_the_same_as_the_facts_about_the_whole(name: str, cuts: list[int]) -> None:
    whole = WHOLES[name]
    parts = [Facts.of(part) for part in np.split(whole, cuts)]
    assert Facts.union(parts) == Facts.of(whole)


def test_a_fraction_late_in_a_large_array_is_seen() -> None:
    array = np.zeros((3000, 500), np.float32)
    assert Facts.of(array, with_values=False).is_whole
    array[-1, -1] = 0.5
    assert not Facts.of(array, with_values=False).is_whole


def test_an_empty_part_changes_nothing() -> None:
    whole = np.array([2, 5, 7])
    assert Facts.union([Facts.of(whole[:0]), Facts.of(whole)]) == Facts.of(whole)


def test_rows_of_several_arrays_have_facts_of_each() -> None:
    found = Facts.of_tree({"a": np.zeros((4, 2)), "b": (np.ones(4), np.arange(4))})
    assert [name for name, _ in found.parts] == ["a", "b"]
    assert found.parts[0][1].shape == (2,)
    assert found.parts[1][1].parts[1][1].high == 3
