"""Secure aggregation between programs of parties: keys stay there, and hostile requests fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography")
from masked_parties import Parties, numbers_in

from fusion_nb.algorithms.privacy.base import PrivateRun
from fusion_nb.algorithms.privacy.cohorts import PrivateCohorts
from fusion_nb.algorithms.privacy.option import around
from fusion_nb.algorithms.secure import steps
from fusion_nb.algorithms.secure.masks import Masks
from fusion_nb.core import registry
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import EvaluateRequest, SendRequest, StepRequest
from fusion_nb.engines.remote import wire
from fusion_nb.errors import PartyError
from fusion_nb.runs.party.policy import Policy

STEPS = ["train", "share", "send masked changes", "reveal"]


def fusion(name: str = "fedavg") -> Fusion:
    made: Fusion = registry.create("fusions", name)
    return made


def private(kind: str = "central", noise: float = 1e-9, names: Any = ("a",)) -> Fusion:
    cohorts = PrivateCohorts(tuple(names), 7, 1.0)
    run = PrivateRun("fedavg", cohorts, 3, is_secret=True)
    return around(fusion(), f"{kind}:clip=0.05,noise={noise}", run)


@pytest.fixture
def parties(tmp_path: Path) -> Parties:
    return Parties(tmp_path)


def plain(parties: Parties, rule: Fusion, names: list[str]) -> Any:
    """The weights that a rule makes of plain updates of other programs with the same rows."""
    state = rule.init(parties.weights, parties.info)
    request = parties.request(rule, 1, rule.broadcast(state))
    updates = [parties.ask(request, name, run=1) for name in names]
    return rule.aggregate(parties.weights, iter(updates), state)[0]


class TestSums:
    @pytest.mark.parametrize("name", ["fedavg", "scaffold", "feddyn", "fednova"])
    def test_they_are_those_of_plain_updates(self, name: str, parties: Parties) -> None:
        found, _ = parties.train(Masks(fusion(name)))
        expected = plain(parties, fusion(name), parties.names)
        for entry, array in expected.items():
            assert np.allclose(found[entry], array, atol=1e-5)
            assert not np.array_equal(found[entry], parties.weights[entry])

    @pytest.mark.parametrize("step", STEPS)
    def test_a_party_may_drop_out_at_each_step(self, step: str, parties: Parties) -> None:
        parties.lost = {step: ["clinic 2"]}
        found, _ = parties.train(Masks(fusion(), threshold=0.6))
        parties.lost = {}
        left = [n for n in parties.names if n != "clinic 2" or step == "reveal"]
        expected = plain(parties, fusion(), left)
        assert all(np.allclose(found[e], a, atol=1e-5) for e, a in expected.items())

    @pytest.mark.parametrize("step", STEPS)
    def test_keys_are_gone_after_the_round(self, step: str, parties: Parties) -> None:
        parties.lost = {step: ["clinic 2"]}
        parties.train(Masks(fusion(), threshold=0.6))
        for program in parties.programs.values():
            kept = program._bench.party.secrets.get(steps.KEPT, {})
            assert set(kept) <= {"step"}, "no key, no number"

    def test_keys_are_gone_after_a_round_that_was_refused(self, parties: Parties) -> None:
        parties.lost = {"send masked changes": ["clinic 2", "clinic 3"]}
        with pytest.raises(PartyError, match="is refused"):
            parties.train(Masks(fusion()))
        assert not any(program._bench.party.secrets for program in parties.programs.values())

    def test_nothing_that_left_is_a_plain_update(self, parties: Parties) -> None:
        parties.train(Masks(private(names=parties.names)))
        seen = [a.astype(np.float64).ravel() for tree in parties.told for a in numbers_in(tree)]
        size = sum(array.size for array in parties.weights.values())
        for name in parties.names:
            update = parties.update(private(names=parties.names), name)
            change = np.concatenate(
                [(update.weights[e] - w).ravel() for e, w in parties.weights.items()]
            )
            assert change.any()
            for row in (row for row in seen if len(row) == size):
                signed = np.where(row >= 2**31, row - 2**32, row)
                assert abs(np.corrcoef(signed, change)[0, 1]) < 0.9
                assert not np.isclose(signed, change).any()


class TestRefusals:
    def test_a_round_is_not_masked_twice_in_a_run(self, parties: Parties) -> None:
        parties.train(Masks(fusion()))
        with pytest.raises(PartyError, match="a masked update of round 1 has left"):
            parties.train(Masks(fusion()))
        parties.names.remove("clinic 4")  # another cohort
        with pytest.raises(PartyError, match="other parties would tell one party's update"):
            parties.train(Masks(fusion()))
        with pytest.raises(PartyError, match="under masks"):
            parties.train(Masks(fusion()), round=0)
        parties.train(Masks(fusion()), round=2)

    def test_one_that_ended_before_any_row_left_is_trained_again(self, parties: Parties) -> None:
        parties.lost = {"share": parties.names[1:]}
        with pytest.raises(PartyError, match="is refused"):
            parties.train(Masks(fusion()))
        parties.lost = {}
        parties.train(Masks(fusion()))

    def test_another_run_begins_with_round_1(self, parties: Parties, tmp_path: Path) -> None:
        parties.train(Masks(fusion()))
        parties.set_up(tmp_path, run=2)
        parties.train(Masks(fusion()), run=2)

    def test_a_step_that_is_replayed(self, parties: Parties) -> None:
        parties.train(Masks(fusion()))
        request = StepRequest(1, "reveal", steps.reveal, {"clinic 1": {"sent": {}, "lost": {}}})
        assert "this step after" in parties.ask(request, "clinic 1").error

    def test_a_step_of_another_round(self, parties: Parties) -> None:
        parties.update(Masks(fusion()), "clinic 1", round=2)
        request = StepRequest(1, "share", steps.share, {"clinic 1": {}})
        assert "is in round 2" in parties.ask(request, "clinic 1").error
        assert not parties.programs["clinic 1"]._bench.party.secrets

    @pytest.mark.parametrize(
        "name",
        [
            "fusion_nb.algorithms.secure.steps:advertise",
            "fusion_nb.algorithms.secure.steps:as_bytes",
            "fusion_nb.algorithms.secure.keys:KeyPair",
            "fusion_nb.cli:main",
            "os:system",
            "fusion_nb.algorithms.nothing:share",
            "",
        ],
    )
    def test_only_steps_of_parties_are_done(self, name: str, parties: Parties) -> None:
        request = StepRequest(1, "share", steps.share, {"clinic 1": {}})
        tree = {"ask": "request", **wire.request_to_tree(request, "clinic 1")}
        tree["fields"]["step"] = name
        parties.send("clinic 1", tree)
        assert "is no step of fusion_nb" in " ".join(parties.lines["clinic 1"])

    def test_an_evaluation_ends_the_secrets(self, parties: Parties) -> None:
        parties.update(Masks(fusion()), "clinic 1")
        party = parties.programs["clinic 1"]._bench.party
        assert party.secrets
        parties.ask(EvaluateRequest(parties.weights), "clinic 1")
        assert not party.secrets

    @pytest.mark.parametrize("forged", ["seeds", "keys"])
    def test_a_forged_share_among_enough_others_does_no_harm(
        self, forged: str, tmp_path: Path
    ) -> None:
        def change(party: str, step: str, tree: Any) -> Any:
            if party == "clinic 3" and step == "reveal":
                shares = tree["fields"]["extras"][forged]
                changed.extend(shares)
                tree["fields"]["extras"][forged] = {p: share ^ 1 for p, share in shares.items()}
            return tree

        changed: list[str] = []
        parties = Parties(tmp_path, count=6)
        parties.forged, parties.lost = change, {"send masked changes": ["clinic 5"]}
        found, _ = parties.train(Masks(fusion(), threshold=0.6))
        parties.lost = {}
        left = [name for name in parties.names if name != "clinic 5"]
        expected = plain(parties, fusion(), left)
        assert changed
        assert all(np.allclose(found[e], a, atol=1e-5) for e, a in expected.items())

    def test_forged_shares_of_too_many_end_the_round(self, parties: Parties) -> None:
        def change(party: str, step: str, tree: Any) -> Any:
            if party in ("clinic 3", "clinic 4") and step == "reveal":
                shares = tree["fields"]["extras"]["seeds"]
                tree["fields"]["extras"]["seeds"] = {p: share ^ 1 for p, share in shares.items()}
            return tree

        parties.forged = change
        with pytest.raises(PartyError, match="don't fit"):
            parties.train(Masks(fusion()))

    def test_a_party_that_lies_about_its_norm_moves_no_more_than_the_sum_may(
        self, parties: Parties
    ) -> None:
        """It sends numbers up to any size; the aggregator clips the mean of all."""

        def change(party: str, step: str, tree: Any) -> Any:
            if party == "clinic 3" and step == "send masked changes":
                row = tree["fields"]["extras"]["masked"]
                tree["fields"]["extras"]["masked"] = row + np.uint32(2**28)
            return tree

        parties.forged = change
        rule = Masks(private(names=parties.names))
        found, _ = parties.train(rule)
        moved = np.sqrt(sum(((found[e] - w) ** 2).sum() for e, w in parties.weights.items()))
        assert 0.04 < moved <= 0.05 * (1 + 1e-3)

    @pytest.mark.parametrize(
        ("step", "field", "value"),
        [
            ("train", "cipher_key", np.zeros(3, np.uint8)),
            ("train", "largest", np.array([-1.0, 2.0])),
            ("train", "largest", np.zeros(9)),
            ("share", "sealed", {}),
            ("send masked changes", "masked", np.zeros(3, np.uint32)),
            ("send masked changes", "masked", np.zeros(18)),
            ("reveal", "seeds", {"nobody": np.zeros(66, np.uint8)}),
            ("reveal", "seeds", 3),
        ],
    )
    def test_an_answer_of_another_form_is_that_of_a_drop_out(
        self, step: str, field: str, value: Any, parties: Parties
    ) -> None:
        def change(party: str, asked: str, tree: Any) -> Any:
            if party == "clinic 3" and asked == step:
                tree["fields"]["extras"][field] = value
            return tree

        parties.forged = change
        found, _ = parties.train(Masks(fusion(), threshold=0.6))
        parties.forged = lambda party, asked, tree: tree
        left = [n for n in parties.names if n != "clinic 3" or step == "reveal"]
        expected = plain(parties, fusion(), left)
        assert all(np.allclose(found[e], a, atol=1e-5) for e, a in expected.items())


class TestPolicy:
    def test_only_masked_updates_leave(self, tmp_path: Path) -> None:
        parties = Parties(tmp_path, Policy(requires_secure=True))
        parties.train(Masks(fusion()))
        for rule in (fusion(), fusion("scaffold")):
            assert "without secure aggregation" in parties.update(rule, "clinic 1")["refused"]
        assert "without masks" in parties.ask(SendRequest(), "clinic 1")["refused"]

    @pytest.mark.parametrize(
        ("rule", "is_allowed"),
        [
            (private(), True),
            (Masks(private()), True),
            (Masks(fusion()), False),
            (fusion(), False),
            (private(noise=0.0), False),
            (Masks(private(noise=0.0)), False),
        ],
    )
    def test_privacy_may_be_behind_masks(
        self, rule: Fusion, is_allowed: bool, tmp_path: Path
    ) -> None:
        parties = Parties(tmp_path, Policy(requires_privacy=True), count=1)
        answer = parties.update(rule, "clinic 1")
        assert isinstance(answer, dict) != is_allowed, answer

    @pytest.mark.parametrize("kind", ["local"])
    def test_noise_of_a_party_does_not_follow_from_the_runs_seed(
        self, kind: str, parties: Parties
    ) -> None:
        first, second = (parties.update(private(kind, 1.0), "clinic 1") for _ in range(2))
        assert not np.allclose(first.weights["0.weight"], second.weights["0.weight"])


class TestLog:
    def test_it_says_that_a_masked_update_left_and_its_bytes(self, parties: Parties) -> None:
        parties.train(Masks(fusion()))
        size = 4 * sum(array.size for array in parties.weights.values())
        for lines in parties.lines.values():
            (line,) = [line for line in lines if "a masked update left" in line]
            assert f"round 1: a masked update left, {size} bytes" in line
            assert "clinic 1, clinic 2, clinic 3, clinic 4" in line
            assert any("no update left, only public keys" in each for each in lines)
        digests = {
            line.partition("transcript ")[2][:64]
            for lines in parties.lines.values()
            for line in lines
            if "transcript" in line
        }
        assert len(digests) == 1
