"""Local privacy: noise at the party, under any rule that only reads what parties send."""

from __future__ import annotations

import math

import numpy as np
import pytest
from private_rules import context, info, rule, updates

from fusion_nb.algorithms.privacy.accounting import gaussian_epsilon
from fusion_nb.core import arithmetic
from fusion_nb.core.protocols import SamplingContext
from fusion_nb.core.types import Update, Weights
from fusion_nb.errors import OptionError

START: Weights = {"w": np.zeros(10_000)}


def sent(seed: int = 0, party: str = "party 1", round: int = 1, text: str = "noise=1.5") -> Update:
    made = rule(f"local:clip=2,{text}", seed=seed)
    view = context(made, START, {"w": np.full(10_000, 1.0)}, party=party, round=round, seed=seed)
    answer = made.local_update(view)
    assert isinstance(answer, Update)
    return answer


def test_a_party_sends_its_clipped_change_with_normal_noise() -> None:
    found = sent().weights["w"]
    clipped = 2 / math.sqrt(10_000)  # the change had the norm 100
    noise = (found - clipped) / (1.5 * 2)
    assert abs(noise.mean()) < 4 / 100
    assert noise.var() == pytest.approx(1.0, abs=4 * math.sqrt(2 / 10_000))
    assert np.mean(np.abs(noise) < 1) == pytest.approx(0.6827, abs=0.02)


def test_noise_differs_by_seed_party_and_round() -> None:
    drawn = [sent(), sent(seed=1), sent(party="party 2"), sent(round=2)]
    correlations = np.corrcoef([update.weights["w"] for update in drawn]) - np.eye(4)
    assert np.abs(correlations).max() < 4 / 100
    assert arithmetic.equal(sent().weights, sent().weights)


def test_without_noise_the_change_is_only_clipped() -> None:
    assert arithmetic.norm(sent(text="noise=0").weights) == pytest.approx(2.0)


def test_it_is_counted_against_any_other_rows_of_the_party() -> None:
    made = rule("local:clip=2,noise=4")
    state = made.init(START, info(START))
    _, state = made.aggregate(START, iter(updates(START, [0.1, 0.1])), state)
    assert made.epsilon(state) == pytest.approx(gaussian_epsilon(2 / 4, 1e-5))
    assert state["ledger"].keys() == {f"party {number}" for number in range(1, 5)}


def test_a_party_whose_update_was_lost_is_charged_and_one_that_was_not_asked_is_not() -> None:
    made = rule("local:clip=2,noise=4", fraction=0.5)
    asked = SamplingContext([f"party {number}" for number in range(1, 5)], 1, 0, 0.5).uniform()
    one = Update(asked[0], {"w": START["w"] + 0.1}, 1)
    _, state = made.aggregate(START, iter([one]), made.init(START, info(START)))
    others = {f"party {number}" for number in range(1, 5)} - {*asked}
    spent = gaussian_epsilon(0.5, 1e-5)
    assert [made.epsilon_of(state, party) for party in asked] == pytest.approx([spent] * 2)
    assert [made.epsilon_of(state, party) for party in sorted(others)] == [0.0, 0.0]


def test_a_round_without_any_party_leaves_the_weights_and_is_counted() -> None:
    made = rule("local:clip=2,noise=4", chance=1e-9)
    assert made.requires.empty_rounds
    found, state = made.aggregate(START, iter([]), made.init(START, info(START)))
    assert arithmetic.equal(found, START)
    assert (state["rounds"], made.epsilon(state)) == (1, 0.0)


def test_rows_give_no_share() -> None:
    made = rule("local:clip=2,noise=4")
    found, _ = made.aggregate(
        START, iter(updates(START, [0.0, 0.4])), made.init(START, info(START))
    )
    assert np.allclose(found["w"], 0.2)


@pytest.mark.parametrize("name", ["median", "krum:f=1", "fedavgm", "bucketing+median"])
def test_rules_that_compare_updates_are_as_private(name: str) -> None:
    made = rule("local:clip=2,noise=4", name, num_parties=6)
    state = made.init(START, info(START, num_parties=6))
    _, state = made.aggregate(START, iter(updates(START, [0.1] * 6)), state)
    assert made.measure(state)["epsilon"] == pytest.approx(gaussian_epsilon(0.5, 1e-5))


@pytest.mark.parametrize("name", ["scaffold", "feddyn", "lag", "fda", "dynamic"])
def test_rules_whose_parties_tell_more_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} "):
        rule("local:clip=2,noise=4", name)
