"""Attacks that forge weights, each against a few lines of numpy."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hostile_parties import BEGIN, CHANGES, HONEST, change_of, replies, request_of, sent

from fusion_nb.algorithms.attacks.alie import largest_z
from fusion_nb.core import arithmetic, registry
from fusion_nb.core.types import Failure, NoUpdate, Reply, Update

FORGERS = [name for name in registry.names("adversaries") if name != "label_flip"]


class TestModelPoisoning:
    @pytest.mark.parametrize("name", FORGERS)
    def test_only_trained_numbers_of_hostile_parties_are_forged(self, name: str) -> None:
        given = replies()
        for before, after in zip(given, sent(name, given), strict=True):
            assert isinstance(before, Update)
            assert isinstance(after, Update)
            if before.party not in ("bad", "evil"):
                assert after is before
                continue
            assert replace(after, weights=before.weights) == before
            assert not arithmetic.misfit(after.weights, before.weights)
            assert after.weights["norm.count"] == 6
            assert after.weights["norm.mean"] == 2.0
            assert not np.array_equal(after.weights["w"], before.weights["w"])
            assert (
                before.weights["w"].tolist()
                == (BEGIN["w"] + np.float32(CHANGES[before.party])).tolist()
            )

    @pytest.mark.parametrize("name", FORGERS)
    def test_failures_and_parties_without_update_pass_in_their_place(self, name: str) -> None:
        given: list[Reply] = [NoUpdate("zero", 3), *replies("evil", "two")]
        found = sent(name, given)
        assert [reply.party for reply in found] == ["zero", *CHANGES]
        assert [type(reply) for reply in found] == [type(reply) for reply in given]
        assert found[0] is given[0]

    @pytest.mark.parametrize("name", FORGERS)
    def test_hostile_parties_without_honest_ones_send_updates(self, name: str) -> None:
        found = sent(name, replies("one", "two", "three"))
        assert [type(reply) for reply in found] == [Failure, Update, Failure, Update, Failure]

    def test_bit_flip_sends_the_negated_change(self) -> None:
        found = sent("bit_flip:2", replies())
        assert change_of(found[1]) == [-9.0, 9.0]
        assert change_of(found[3]) == [-0.5, 0.0]

    def test_sign_flip_sends_a_multiple_of_the_negated_change(self) -> None:
        assert change_of(sent("sign_flip:2", replies())[1]) == [-36.0, 36.0]
        assert change_of(sent("sign_flip:2,scale=2", replies())[1]) == [-18.0, 18.0]

    def test_noise_depends_on_round_and_party(self) -> None:
        first, again, next_round = (
            sent("noise:2,sigma=3", replies(), number) for number in (1, 1, 2)
        )
        assert change_of(first[1]) == change_of(again[1])
        draws = [np.subtract(change_of(found[1]), CHANGES["bad"]) for found in (first, next_round)]
        draws += [np.subtract(change_of(first[3]), CHANGES["evil"])]
        assert not any(np.allclose(a, b, atol=1e-3) for a, b in itertools.combinations(draws, 2))

    def test_noise_has_the_standard_deviation_sigma(self) -> None:
        start = {"w": np.zeros(20_000)}
        attack = registry.create("adversaries", "noise:1,sigma=3")
        given = iter([Update("bad", {"w": np.ones(20_000)}, 1)])
        (found,) = attack.forge(given, request_of(1, start), ("bad",), frozenset({"w"}))
        assert found.weights["w"].mean() == pytest.approx(1, abs=0.1)
        assert found.weights["w"].std() == pytest.approx(3, rel=0.03)

    def test_ipm_sends_a_multiple_of_the_negated_mean(self) -> None:
        found = sent("ipm:2,epsilon=0.5", replies())
        assert change_of(found[1]) == change_of(found[3]) == [-1.5, -0.5]

    def test_alie_sends_the_mean_less_z_standard_deviations(self) -> None:
        found = sent("alie:2,z=1.5", replies())
        assert change_of(found[1]) == pytest.approx(
            list(HONEST.mean(axis=0) - 1.5 * HONEST.std(axis=0)), abs=1e-5
        )
        computed = sent("alie:2", replies())
        expected = HONEST.mean(axis=0) - NormalDist().inv_cdf(2 / 3) * HONEST.std(axis=0)
        assert (
            change_of(computed[1])
            == change_of(computed[3])
            == pytest.approx(list(expected), abs=1e-5)
        )

    def test_alie_computes_z_as_in_its_paper(self) -> None:
        # n = 50, f = 12: 26 - 12 = 14 supporters of 38 honest parties
        assert largest_z(50, 12) == pytest.approx(NormalDist().inv_cdf(24 / 38))
        assert largest_z(25, 5) == pytest.approx(NormalDist().inv_cdf(12 / 20))
        assert largest_z(10, 1) == 0
        assert largest_z(3, 2) == 0

    def test_mimic_sends_the_weights_of_the_most_unlike_party(self) -> None:
        found = sent("mimic:2", replies())
        assert change_of(found[1]) == change_of(found[3]) == unlikest(HONEST).tolist()

    def test_mimic_ignores_what_all_changes_have_in_common(self) -> None:
        changes = {"one": [100.0, 1.0], "two": [100.0, -2.0], "three": [101.0, 0.5]}
        given = [
            replace(
                reply, weights=reply.weights | {"w": BEGIN["w"] + np.float32(changes[reply.party])}
            )
            if isinstance(reply, Update) and reply.party in changes
            else reply
            for reply in replies()
        ]
        assert (
            change_of(sent("mimic:2", given)[1])
            == unlikest(np.array(list(changes.values()))).tolist()
        )

    def test_mimic_keeps_its_target(self) -> None:
        attack = registry.create("adversaries", "mimic:2")
        target = change_of(sent("", replies(), 1, attack)[1])
        name = next(party for party, change in CHANGES.items() if change == target)
        without = change_of(sent("", replies(name), 2, attack)[1])
        assert without != target
        moved = [
            replace(
                reply,
                weights=reply.weights | {"w": BEGIN["w"] + (0.01 if reply.party == name else 50)},
            )
            for reply in replies()
            if isinstance(reply, Update)
        ]
        assert change_of(sent("", moved, 3, attack)[1]) == pytest.approx([0.01, 0.01], abs=1e-4)

    def test_a_number_too_large_for_its_dtype_is_sent_as_infinite(self) -> None:
        start = {"w": np.zeros(2, np.float16)}
        given = iter([Update("bad", {"w": np.full(2, 1000, np.float16)}, 1)])
        attack = registry.create("adversaries", "sign_flip:1,scale=1e6")
        (found,) = attack.forge(given, request_of(1, start), ("bad",), frozenset({"w"}))
        assert "not finite" in arithmetic.misfit(found.weights, start)

    def test_mimic_continues_with_its_target_in_another_object(self) -> None:
        first = registry.create("adversaries", "mimic:2")
        sent("", replies(), 1, first)
        state = pickle.loads(pickle.dumps(dict(first.persistent_state)))
        other = registry.create("adversaries", "mimic:2")
        other.persistent_state = state
        alike = [
            replace(reply, weights=reply.weights | {"w": BEGIN["w"] * 0 + i})
            for i, reply in enumerate(replies())
            if isinstance(reply, Update)
        ]
        assert change_of(sent("", alike, 2, other)[1]) == change_of(sent("", alike, 2, first)[1])
        assert state == {"target": next(p for p in CHANGES if p == state["target"])}


def unlikest(changes: np.ndarray) -> np.ndarray:
    """Return the change that is longest along the first principal direction of all."""
    direction = np.linalg.svd(changes - changes.mean(axis=0))[2][0]
    return changes[np.argmax(np.abs(changes @ direction))]
