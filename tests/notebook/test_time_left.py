"""The time that a run has left, as its status tells it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import fusion_nb
from fusion_nb import RunSpec
from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.notebook.live import seconds_left, status_text


def rounds(*seconds: float) -> History:
    return History(RoundRecord(i + 1, {}, {}, (), took, 0, 0) for i, took in enumerate(seconds))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((), None),
        ((2.0,), None),  # it sets up what the others use
        ((20.0,), 99 * 20.0),  # long enough to tell something
        ((2.0, 0.1), 98 * 0.1),
        ((2.0, 0.1, 0.3), 97 * 0.2),
        ((2.0, *[0.1] * 8, 0.5), 90 * (7 * 0.1 + 0.5) / 8),
        ((2.0, *[0.1] * 8, 60.0), 90 * (7 * 0.1 + 0.7) / 8),  # the machine stood still
        ((0.2,) * 100, 0.0),
    ],
    ids=str,
)
def test_it_is_judged_by_the_latter_half(
    seconds: tuple[float, ...], expected: float | None
) -> None:
    left = seconds_left(rounds(*seconds), 100)
    assert left == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "seconds",
    [
        [3.0] + [0.1] * 60,
        [3.0] + [0.1, 0.1, 0.1, 0.6] * 15,  # every fourth round evaluates
        [0.1] * 30 + [0.2] * 30,  # another program takes half of the machine
        [0.2] * 30 + [0.1] * 30,
        [3.0] + [0.1] * 20 + [1.0] + [0.1] * 40,
        [3.0] + [0.1] * 6 + [60.0] + [0.1] * 50,  # a laptop slept
        [3.0] + [0.1] * 30 + [60.0] + [0.1] * 30,
    ],
)
def test_it_never_jumps(seconds: list[float]) -> None:
    history = rounds(*seconds)
    left = [seconds_left(history[:count], 100) for count in range(5, len(seconds))]
    for before, after in itertools.pairwise(left):
        assert before is not None
        assert after is not None
        assert 0.4 < after / before < 2


def test_nothing_is_told_of_it_after_the_last_round(namespace: dict[str, Any]) -> None:
    run = fusion_nb.Run(RunSpec(data="rows", rounds=3, lr=0.1), namespace)
    told: list[str] = []
    run.subscribe(lambda run: told.append(status_text(run)))
    run.start().wait()
    assert "left" in next(text for text in told if "running, round 2 of 3" in text)
    assert "left" not in next(text for text in told if "running, round 3 of 3" in text)
