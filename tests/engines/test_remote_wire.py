"""Requests and replies of a running federation are plain data: no code comes in, or goes out."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from fusion_nb.core import registry
from fusion_nb.core.files.tree_file import pack_tree, unpack_tree
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import (
    EvaluateRequest,
    Failure,
    FederationInfo,
    NoUpdate,
    RoundRequest,
    Update,
)
from fusion_nb.engines.remote import wire
from fusion_nb.errors import OptionError

WEIGHTS = {"w": np.arange(3.0), "n": np.array(2, dtype=np.int64)}
INFO = FederationInfo(2, ("w", "n"), frozenset({"w"}), frozenset(), ("a", "b"))
#: Rules with a half of their own at a party, and rules around other rules.
RULES = ["scaffold", "feddyn", "fda", "lag", "cmfl", "dynamic:threshold=0.1"]


def request(half: Any = None, **options: Any) -> RoundRequest:
    return RoundRequest(
        round=3,
        weights=WEIGHTS,
        broadcast={"control": {"w": np.ones(3)}},
        options={"epochs": 2, "lr": 0.1, "optimizer": "sgd", **options},
        seed=7,
        info=INFO,
        local_update=half,
        party_options={"a": {"epochs": 1}, "b": {"epochs": 5}},
    )


def travelled(asked: Any) -> Any:
    tree = wire.request_to_tree(asked, "a")
    return wire.request_of_tree(unpack_tree(pack_tree(tree, "request"), "the request"))


def replied(tree: Any) -> Any:
    return wire.reply_of_tree(unpack_tree(pack_tree(tree, "reply"), "its reply"), "a")


class TestRequests:
    def test_a_round_is_the_same_after_its_way(self) -> None:
        found = travelled(request())
        assert found.info == INFO
        assert found.options == request().options
        assert found.party_options == {"a": {"epochs": 1}}  # of others, a party is told nothing
        assert {name: a.dtype for name, a in found.weights.items()} == {
            "w": np.float64,
            "n": np.int64,
        }
        assert found.weights["n"].shape == ()

    @pytest.mark.parametrize("rule", RULES)
    def test_a_rule_travels_by_its_name_and_options(self, rule: str) -> None:
        made: Fusion = registry.create("fusions", rule)
        half = travelled(request(made.local_update)).local_update
        assert type(half.__self__) is type(made)
        sent, again = (wire.request_to_tree(request(f), "a") for f in (made.local_update, half))
        assert again["fields"]["local_update"] == sent["fields"]["local_update"]

    def test_a_rule_around_another_one_travels_with_it(self) -> None:
        kind, options = registry.bind("personal", "ditto")
        made = kind(registry.create("fusions", "scaffold"), **options)
        half = travelled(request(made.local_update)).local_update
        assert type(half.__self__.inner) is type(made.inner)

    def test_code_of_a_cell_does_not_travel(self) -> None:
        def mine(context: Any) -> Any:
            return context.update(context.weights)

        with pytest.raises(OptionError, match="code of your own"):
            wire.request_to_tree(request(mine), "a")

    def test_other_requests_travel(self) -> None:
        found = travelled(EvaluateRequest(WEIGHTS, num_test_rows=5, seed=1))
        assert (found.num_test_rows, found.seed, found.costly) == (5, 1, False)

    @pytest.mark.parametrize(
        "half",
        [
            {"function": "os:system", "options": {}},
            {"function": "subprocess:run", "options": {}},
            {"function": "fusion_nb.cli:main", "options": {}},
            {"function": "fusion_nb.algorithms.baselines:os.system", "options": {}},
            {"function": "fusion_nb.algorithms.nothing:f", "options": {}},
            {"rule": {"class": "os:system", "state": {}}, "method": "local_update"},
            {"rule": {"class": "subprocess:Popen", "state": {}}, "method": "local_update"},
            {"rule": "text", "method": "local_update"},
            {"rule": {}, "method": "__init__"},
            "text",
        ],
    )
    def test_a_rule_from_elsewhere_is_refused(self, half: Any) -> None:
        tree = wire.request_to_tree(request(), "a")
        tree["fields"]["local_update"] = half
        with pytest.raises(ValueError, match="rule"):
            wire.request_of_tree(tree)

    @pytest.mark.parametrize("tree", [None, [], {}, {"request": "Party"}, {"request": "exit"}])
    def test_what_is_no_request_is_refused(self, tree: Any) -> None:
        with pytest.raises(ValueError, match="no request"):
            wire.request_of_tree(tree)


class TestReplies:
    @pytest.mark.parametrize(
        "reply",
        [
            Update("a", WEIGHTS, 8, {"loss": 0.5}, {"control": {"w": np.ones(3)}}),
            NoUpdate("a", 8, 0.25, {"loss": 0.5}),
            Failure("a", "ValueError", "lines"),
        ],
    )
    def test_a_reply_is_the_same_after_its_way(self, reply: Any) -> None:
        found = replied(wire.reply_to_tree(reply))
        assert type(found) is type(reply)
        assert found.party == "a"

    def test_a_party_can_only_speak_for_itself(self) -> None:
        assert replied(wire.reply_to_tree(Update("b", WEIGHTS, 8))).party == "a"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("num_examples", -1),
            ("num_examples", "many"),
            ("num_examples", 1.5),
            ("metrics", {"loss": "low"}),
            ("metrics", [1, 2]),
            ("weights", {"w": [1.0, 2.0]}),
            ("weights", "text"),
            ("extras", [1]),
            ("more", 1),
        ],
    )
    def test_fields_of_another_form_are_refused(self, field: str, value: Any) -> None:
        tree = wire.reply_to_tree(Update("a", WEIGHTS, 8))
        tree["fields"][field] = value
        with pytest.raises(ValueError, match=r"its|version"):
            replied(tree)

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"short",
            pickle.dumps({"reply": "Update"}),
            b"\xff" * 100,
            (20).to_bytes(8, "little") + b"{" * 20,
            pack_tree({"reply": "Update"}, "reply")[:-3],
        ],
    )
    def test_bytes_of_another_form_are_refused_and_never_run(self, body: bytes) -> None:
        with pytest.raises(ValueError):  # noqa: PT011  each has its own line
            wire.reply_of_tree(unpack_tree(body, "its reply"), "a")
