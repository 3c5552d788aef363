"""Dynamic averaging: who is asked for weights, and what is averaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from linear_parties import (
    STANDING,
    START,
    UNLIKE,
    Sum,
    built,
    close_to,
    descend,
    federation,
    flat,
    info_of,
    named,
)

from fusion_nb.core import arithmetic, registry
from fusion_nb.core.types import NoUpdate, Update


def report(party: int, drift: float) -> NoUpdate:
    return NoUpdate(f"p{party}", 10, drift**2)


def kept(party: str, place: float) -> Update:
    return Update(party, named([place]), 10)


class TestDynamicAveraging:
    """Algorithm 1 of Kamp et al. 2018, with parties on a line and the common weights at 0."""

    def settle(
        self, rule: Any, state: Any, places: list[float]
    ) -> tuple[float, float, list[str], Any]:
        """Return the common and the adopted weights, who was asked, and the state."""
        asked, state = rule.select_senders(
            [report(i, place) for i, place in enumerate(places)], state
        )
        read: list[str] = []

        def updates() -> Iterator[Update]:
            for party in asked:
                read.append(party)
                yield kept(party, places[int(party[1])])

        common, state = rule.aggregate(named([0.0]), updates(), state)
        return float(common["w"][0]), float(rule.after_sync(common, state)["w"][0]), read, state

    def rule(self, options: str = "") -> Any:
        rule = registry.create("fusions", f"dynamic:threshold=1{options}")
        return rule, rule.init(named([0.0]), info_of(named([0.0])))

    def test_no_party_is_asked_where_none_drifted(self) -> None:
        rule, state = self.rule()
        common, _, read, _ = self.settle(rule, state, [1.0, -1.0, 0.5])
        assert (common, read) == (0.0, [])

    def test_parties_that_balance_each_other_need_no_others(self) -> None:
        rule, state = self.rule()
        common, adopted, read, _ = self.settle(rule, state, [0.1, 2.0, 0.2, -1.5])
        assert (common, adopted, read) == (0.0, 0.25, ["p1", "p3"])

    def test_others_are_asked_one_by_one_until_the_mean_is_within(self) -> None:
        rule, state = self.rule()
        common, adopted, read, _ = self.settle(rule, state, [2.5, 0.5, 0.5, 0.5, 0.5])
        # 2.5 and 1.5 are too far, (2.5 + 0.5 + 0.5) / 3 too, (2.5 + 3 * 0.5) / 4 is not
        assert read[0] == "p0"
        assert (common, adopted, len(read)) == (0.0, 1.0, 4)

    def test_where_all_are_needed_their_mean_is_the_new_reference(self) -> None:
        rule, state = self.rule()
        common, adopted, read, _ = self.settle(rule, state, [9.0, 0.5, 0.5])
        assert common == adopted == pytest.approx(10 / 3)
        assert sorted(read) == ["p0", "p1", "p2"]

    def test_as_many_violations_as_parties_synchronise_all_and_start_anew(self) -> None:
        rule, state = self.rule()
        places = [2.0, -2.0, 0.3, 0.5]
        asked = []
        for _ in range(4):
            common, adopted, read, state = self.settle(rule, state, places)
            asked.append(len(read))
            assert (common, adopted) == ((0.0, 0.0) if len(read) == 2 else (0.2, 0.2))
        assert asked == [2, 4, 2, 4]

    def test_without_partial_all_parties_are_asked(self) -> None:
        rule, state = self.rule(",partial=false")
        common, adopted, read, _ = self.settle(rule, state, [0.1, 2.0, 0.2, -1.5])
        assert common == adopted == pytest.approx(0.2)
        assert len(read) == 4

    def test_distance_is_checked_every_few_rounds(self) -> None:
        found = [len(r.silent) for r in federation("dynamic:threshold=0,check_every=3").rounds(6)]
        assert found == [3, 3, 0, 3, 3, 0]

    def test_a_mean_of_some_leaves_the_reference_and_the_others(self) -> None:
        """A party that stands still is never asked while two others, in opposite places, balance
        each other."""
        made = federation("dynamic:threshold=1e-4", STANDING, Sum(), epochs=1)
        first, second = made.rounds(2)
        assert first.silent == ("p2", "p3")
        assert second.silent == ()

    def test_similar_parties_synchronise_less(self, rows: Any, net: Any) -> None:
        def synchronised(split: str) -> int:
            made = built(rows, net(), fusion="dynamic:threshold=0.1", split=split, parties=3)
            return sum(len(r.cohort) - len(r.silent) for r in made.rounds(10))

        assert 0 < synchronised("iid") < 0.6 * synchronised("shards:per_party=1")

    def test_a_threshold_out_of_reach_never_synchronises(self, rows: Any, net: Any) -> None:
        made = built(rows, net(), fusion="dynamic:threshold=1e9")
        assert not any(record.synchronised for record in made.rounds(4))
        assert arithmetic.equal(made.weights, made.network.initial_weights)

    def test_rounds_without_synchronisation_are_one_long_training(self) -> None:
        options: dict[str, Any] = {
            "keep_optimizer": True,
            "optimizer": "sgd:momentum=0.9",
            "steps": 1,
        }
        made = federation("dynamic:threshold=1e9", **options)
        list(made.rounds(6))
        for party, own in zip(made.parties, UNLIKE, strict=True):
            assert flat(party.state["fusion"]["weights"]) == close_to(
                descend(START, own, 6, momentum=0.9)
            )
