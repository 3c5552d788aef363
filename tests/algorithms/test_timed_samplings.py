"""Oort and TiFL's tiers: who is chosen, by loss and by time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

import fusion_nb
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
