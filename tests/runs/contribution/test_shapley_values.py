"""Values of parties in games whose answers are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest

from fusion_nb.errors import OptionError
from fusion_nb.runs.contribution.option import ContributionOption
from fusion_nb.runs.contribution.plan import ContributionPlan
from fusion_nb.runs.contribution.values import (
    Coalition,
    coalitions,
    leave_one_out,
    sample_orders,
    sampled_shapley,
    shapley,
)

#: Runways that each needs, of the airport game: S. C. Littlechild and G. Owen, 1973.
_AIRPORT = {"a": 8.0, "b": 11.0, "c": 13.0, "d": 18.0}


def airport(coalition: Coalition) -> float:
    return max((_AIRPORT[party] for party in coalition), default=0.0)


def gloves(coalition: Coalition) -> float:
    return float("left" in coalition and len(coalition) > 1)


def additive(coalition: Coalition) -> float:
    return sum(float(party) for party in coalition)


def majority(coalition: Coalition) -> float:
    """The weighted voting game [51; 50, 49, 1]."""
    return float(sum({"big": 50, "mid": 49, "small": 1}[party] for party in coalition) >= 51)


GAMES: list[tuple[Callable[[Coalition], float], dict[str, float]]] = [
    (airport, {"a": 2.0, "b": 3.0, "c": 4.0, "d": 9.0}),
    (gloves, {"left": 2 / 3, "right 1": 1 / 6, "right 2": 1 / 6}),
    (additive, {"1": 1.0, "2": 2.0, "-3": -3.0}),
    (majority, {"big": 2 / 3, "mid": 1 / 6, "small": 1 / 6}),
]


@pytest.mark.parametrize(("value", "expected"), GAMES)
def test_exact_values(value: Callable[[Coalition], float], expected: dict[str, float]) -> None:
    found = shapley([*expected], value)
    assert {party: each.value for party, each in found.items()} == pytest.approx(expected)
    assert all(each.low == each.value == each.high for each in found.values())


@pytest.mark.parametrize(("value", "expected"), GAMES)
def test_sampled_values_have_intervals(
    value: Callable[[Coalition], float], expected: dict[str, float]
) -> None:
    found = sampled_shapley(sample_orders([*expected], 200, 3), value)
    total = value(frozenset(expected)) - value(frozenset())
    assert sum(each.value for each in found.values()) == pytest.approx(total)
    for party, each in found.items():
        assert each.low <= each.value <= each.high
        assert each.value == pytest.approx(expected[party], abs=0.8)


def test_an_interval_is_students_over_the_orders() -> None:
    orders = [["left", "right 1"], ["right 1", "left"], ["left", "right 1"], ["right 1", "left"]]
    found = sampled_shapley(orders, gloves)["left"]  # it gains 0, 1, 0, 1
    half = 3.182446 * np.std([0, 1, 0, 1], ddof=1) / math.sqrt(4)
    assert (found.value, found.high - found.value) == pytest.approx((0.5, half))


def test_all_orders_give_the_exact_values() -> None:
    orders = [*itertools.permutations(_AIRPORT)]
    found = sampled_shapley(orders, airport)
    assert {name: each.value for name, each in found.items()} == pytest.approx(GAMES[0][1])


def test_leaving_one_out() -> None:
    found = leave_one_out([*_AIRPORT], airport)
    assert [each.value for each in found.values()] == [0.0, 0.0, 0.0, 5.0]


@pytest.mark.parametrize(
    ("text", "num", "trainings"),
    [
        ("shapley", 4, 14),
        ("shapley", 6, 62),
        ("leave_one_out", 9, 9),
        ("cross_site", 9, 9),
        ("shapley,leave_one_out,cross_site", 5, 30),
        ("leave_one_out,cross_site", 2, 2),
    ],
)
def test_the_cost_is_known_before(text: str, num: int, trainings: int) -> None:
    plan = ContributionPlan.of(text, [f"party {i}" for i in range(num)], 0)
    assert len(plan.trained) == len({*plan.trained}) == trainings
    assert f"{trainings} further trainings" in plan.cost


@pytest.mark.parametrize("permutations", [2, 10])
def test_above_six_parties_orders_are_sampled(permutations: int) -> None:
    parties = [f"party {i}" for i in range(7)]
    plan = ContributionPlan.of(f"shapley:permutations={permutations}", parties, 0)
    assert len(plan.orders) == permutations
    assert len(plan.trained) <= permutations * 6
    assert {*plan.trained} == {*coalitions(parties, plan.orders)} - {
        frozenset(),
        frozenset(parties),
    }
    assert plan == ContributionPlan.of(f"shapley:{permutations}", parties, 0)
    assert plan.orders != ContributionPlan.of(f"shapley:{permutations}", parties, 1).orders


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("shaply", "did you mean 'shapley'"),
        ("shapley:permutations=1", ">= 2"),
        ("shapley:many", "permutations=20"),
        ("leave_one_out:3", "shapley:permutations"),
        ("shapley;cross_site", "give shapley"),
    ],
)
def test_other_text_is_refused(text: str, word: str) -> None:
    with pytest.raises(OptionError) as raised:
        ContributionOption.parse(text)
    assert word in str(raised.value)
