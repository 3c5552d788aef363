"""Random streams, and the seeded state of the global generators."""

from __future__ import annotations

import random

import numpy as np

from fusion_nb.core import seeds
from fusion_nb.core.seeds import SeededGlobalRandomness


def test_a_stream_depends_on_its_key_alone() -> None:
    seeds.stream(1, "half a character: \ud800")
    draws = [seeds.stream(0, "a", 1).integers(1 << 30) for _ in range(2)]
    assert draws[0] == draws[1]
    keys = (("a", 1), ("a", 2), ("b", 1))
    numbers = {seeds.number(seed, *key) for seed in (0, 1) for key in keys}
    assert len(numbers) == 6
    assert all(0 <= number < 2**63 for number in numbers)


def test_global_randomness_is_seeded_continued_and_restored() -> None:
    def draw() -> tuple[float, float]:
        return random.random(), float(np.random.rand())

    randomness = SeededGlobalRandomness(5, exclusive=True)
    random.seed(1)
    np.random.seed(1)
    expected = [draw(), draw()]
    random.seed(1)
    np.random.seed(1)
    with randomness:
        first = draw()
    assert draw() == expected[0]
    with randomness:
        second = draw()
    assert draw() == expected[1]
    with SeededGlobalRandomness(5, exclusive=False):
        assert [draw(), draw()] == [first, second]
