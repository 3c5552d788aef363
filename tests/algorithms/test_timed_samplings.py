"""Oort and TiFL's tiers: who is chosen, by loss and by time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import fusion_nb
from fusion_nb.algorithms.tier_policies import chances_of
from fusion_nb.algorithms.timed_samplings import oort, tiers
from fusion_nb.core.history import History
from fusion_nb.core.protocols import SamplingContext
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import OptionError

PARTIES = [f"party {i}" for i in range(1, 21)]
SLOW = {party: float(i) for i, party in enumerate(PARTIES, 1)}


def context(round: int, losses: dict[str, float], seconds: Any = SLOW) -> SamplingContext:
    metrics = {party: {"train_loss": loss} for party, loss in losses.items()}
    record = RoundRecord(1, {}, metrics, tuple(losses), 0.0, 0, 0)
    rows = dict.fromkeys(PARTIES, 10)
    return SamplingContext(PARTIES, round, 3, 0.25, rows, History([record]), seconds)


def counted(sampling: Any, losses: dict[str, float], seconds: Any = SLOW, **options: Any) -> Any:
    chosen = Counter[str]()
    for round in range(200, 300):
        found = sampling(context(round, losses, seconds), **options)
        assert len({*found}) == len(found) == 5
        chosen.update(found)
    return chosen


class TestOort:
    def test_large_losses_are_chosen(self) -> None:
        losses = {party: 5.0 if i < 8 else 0.1 for i, party in enumerate(PARTIES)}
        chosen = counted(oort, losses, dict.fromkeys(PARTIES, 1.0))
        assert {*chosen} == {*PARTIES[:8]}

    def test_slow_parties_lose(self) -> None:
        losses = dict.fromkeys(PARTIES, 1.0)
        assert {*counted(oort, losses)} == {*PARTIES[:10]}
        assert {*counted(oort, losses, alpha=0)} == {*PARTIES}

    def test_new_parties_are_tried_and_fast_ones_first(self) -> None:
        chosen = counted(oort, dict.fromkeys(PARTIES[10:], 1.0))
        assert sum(chosen[party] for party in PARTIES[:10]) == 100  # a fifth of five
        assert chosen["party 1"] > chosen["party 10"]
        first = SamplingContext(PARTIES, 1, 0, 0.25, dict.fromkeys(PARTIES, 10), History(), SLOW)
        assert len(oort(first)) == 5


class TestTiers:
    def test_a_cohort_is_of_one_tier(self) -> None:
        for round in range(1, 30):
            found = tiers(context(round, {}), num=4)
            places = sorted((PARTIES.index(party)) // 5 for party in found)
            assert places[0] == places[-1]

    def test_all_tiers_have_the_same_chance(self) -> None:
        chosen = counted(tiers, {}, num=4)
        assert {*chosen} == {*PARTIES}

    def test_a_small_tier_is_filled_up(self) -> None:
        found = counted(tiers, {}, num=20)
        assert sum(found.values()) == 500

    def test_rounds_are_shorter_than_with_uniform(self, rows: Any, net: Any) -> None:
        options: dict[str, Any] = {"parties": 12, "fraction": 0.25, "rounds": 12, "lr": 0.1}
        options |= {"devices": "lognormal:sigma=1.5", "step_seconds": 1}
        plain = fusion_nb.federate(net(), rows, **options)
        tiered = fusion_nb.federate(net(), rows, sampling="tiers:4", **options)
        assert tiered.history["virtual_seconds"][-1] < plain.history["virtual_seconds"][-1]


@pytest.mark.parametrize("sampling", ["oort", "tiers:3"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fraction": 0.5}, "no devices or lines are simulated"),
        ({"devices": "phones"}, "all parties train in every round"),
        ({"devices": "phones", "fraction": 0.5, "fusion": "fedbuff"}, "asks a party whenever"),
    ],
)
def test_what_they_need(rows: Any, net: Any, sampling: str, options: Any, words: str) -> None:
    with pytest.raises(OptionError) as seen:
        fusion_nb.federate(net(), rows, parties=8, sampling=sampling, **options)
    assert words in str(seen.value)


def measured(round: int, accuracies: list[list[float]]) -> SamplingContext:
    """Return a context after rounds with an accuracy for each of four tiers of five parties."""
    records = [
        RoundRecord(
            number,
            {},
            {party: {"accuracy": found[i // 5]} for i, party in enumerate(PARTIES)},
            (),
            0.0,
            0,
            0,
        )
        for number, found in enumerate(accuracies, 1)
    ]
    return SamplingContext(
        PARTIES, round, 3, 0.25, dict.fromkeys(PARTIES, 10), History(records), SLOW
    )


def tier_of(found: Any) -> int:
    (tier,) = {PARTIES.index(party) // 5 for party in found}
    return tier


class TestAdaptiveTiers:
    ADAPTIVE = {"num": 4, "policy": "adaptive", "interval": 2}  # noqa: RUF012

    def chosen(self, accuracies: Any, rounds: int, **options: Any) -> Counter[int]:
        given = {**self.ADAPTIVE, **options}
        return Counter(
            tier_of(tiers(measured(round, [accuracies] * (round - 1)), **given))
            for round in range(1, rounds + 1)
        )

    def test_tiers_with_a_low_accuracy_are_chosen_more_often(self) -> None:
        found = self.chosen([0.9, 0.2, 0.5, 0.8], 80)
        assert found[1] > found[2] > found[3] > found[0]
        # Ranks from the worst: 3, 2, 1 and 0 of 6; the first four rounds have equal chances.
        assert found[1] / 80 == pytest.approx(3 / 6, abs=0.12)
        assert found[0] <= 4

    def test_nothing_changes_while_the_chosen_tier_gets_better(self) -> None:
        rising = [[0.7 + n / 1000, n / 1000, 0.3 + n / 1000, 0.5 + n / 1000] for n in range(80)]
        equal = Counter(
            tier_of(tiers(measured(round, rising[: round - 1]), **self.ADAPTIVE))
            for round in range(1, 81)
        )
        assert min(equal.values()) > 10

    def test_credits_limit_how_often_a_tier_is_chosen(self) -> None:
        found = self.chosen([0.9, 0.2, 0.5, 0.8], 12, credits=3)
        assert found == {0: 3, 1: 3, 2: 3, 3: 3}
        assert self.chosen([0.9, 0.2, 0.5, 0.8], 24, credits=3) == dict.fromkeys(range(4), 6)

    def test_without_any_measurement_each_has_the_same_chance(self) -> None:
        found = Counter(
            tier_of(tiers(context(round, {}), **self.ADAPTIVE)) for round in range(1, 121)
        )
        assert len(found) == 4
        assert min(found.values()) > 15

    def test_a_run_is_repeated_and_continued(self, net: Any, rows: Any) -> None:
        options = {
            "sampling": "tiers:num=3,policy=adaptive,interval=2,credits=4",
            "devices": "phones",
            "step_seconds": 0.01,
            "parties": 9,
            "fraction": 0.3,
            "lr": 0.1,
        }
        whole = fusion_nb.federate(net(5, 3), rows, rounds=8, **options)
        parts = fusion_nb.federate(net(5, 3), rows, rounds=4, **options).more(4).wait()
        assert [r.cohort for r in whole.history] == [r.cohort for r in parts.history]

    def test_another_policy_is_refused(self, net: Any, rows: Any) -> None:
        with pytest.raises(OptionError, match="policy=random is not allowed"):
            fusion_nb.Run(
                fusion_nb.RunSpec(
                    data="data", parties=6, fraction=0.5, sampling="tiers:policy=random"
                ),
                {"model": net(5, 3), "data": rows},
            )

    def test_chances_are_ranks(self) -> None:
        assert chances_of([0.1]).tolist() == [1.0]
        assert chances_of([0.4, 0.3, 0.2, 0.1]).tolist() == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])
