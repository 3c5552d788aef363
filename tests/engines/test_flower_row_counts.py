"""The aggregator knows how many rows a Flower app has from the app's replies, in order or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np
import pytest

from fusion_nb import RunSpec
from fusion_nb.core.protocols import OpenRound
from fusion_nb.core.types import (
    EvaluateRequest,
    Failure,
    FederationInfo,
    NoUpdate,
    Reply,
    RoundRequest,
    Update,
)
from fusion_nb.engines.flower.engine import FlowerEngine
from fusion_nb.engines.remote import wire
from fusion_nb.engines.remote.session import Described
from fusion_nb.runs.federated import apps

WEIGHTS = {"w": np.zeros(2, np.float32)}
INFO = FederationInfo(1, ("w",), frozenset({"w"}))
REQUEST = RoundRequest(1, WEIGHTS, broadcast={}, options={}, seed=0, info=INFO)
ABOUT = {"identity": "a", "run_config": {}}


class Session:
    """Nodes that answer all that they are asked by one reply."""

    def __init__(self, reply: Reply) -> None:
        self.nodes = {"a": 1}
        self.prepare: list[Any] = [None]
        self.gate: Callable[[], None] = lambda: None
        self._tree = wire.reply_to_tree(reply)

    def take_back(self) -> None: ...

    def close(self) -> None: ...

    def ask(self, contents: Any) -> Iterator[tuple[str, Any, str]]:
        for name, _ in contents:
            yield name, self._tree, ""

    def ask_open(self, next_content: Callable[[], Any]) -> Iterator[tuple[str, Any, str]]:
        while (found := next_content()) is not None:
            yield found[0], self._tree, ""


class Once(OpenRound):
    """A round that asks the only party once."""

    round, awaited = 1, 1

    def __init__(self) -> None:
        self._left = ["a"]

    def next(self) -> tuple[str, RoundRequest] | None:
        return (self._left.pop(), REQUEST) if self._left else None


def started(reply: Reply) -> tuple[FlowerEngine, Any]:
    """Return an engine in a running federation of one app, and the app's party."""
    session: Any = Session(reply)
    party: Any = apps.parties(RunSpec(rounds=1), [Described(1, "a", 0, [], ABOUT)], session, {})
    party = party.parties[0]
    party.setup = lambda model: {}
    engine, no_model = FlowerEngine(superlink="127.0.0.1:1"), cast(Any, None)
    engine.start([party], no_model, lambda: None)
    return engine, party


@pytest.mark.parametrize("is_open", [False, True])
@pytest.mark.parametrize("reply", [Update("a", WEIGHTS, 7), NoUpdate("a", 7)])
def test_a_training_tells_them(reply: Reply, is_open: bool) -> None:
    engine, party = started(reply)
    asked = engine.run_open(Once()) if is_open else engine.run(REQUEST, ["a"])
    assert [found.party for found in asked] == ["a"]
    assert (party.num_examples, len(party.test)) == (7, 1)


@pytest.mark.parametrize("is_open", [False, True])
def test_a_failure_tells_nothing(is_open: bool) -> None:
    engine, party = started(Failure("a", "no room"))
    asked = engine.run_open(Once()) if is_open else engine.run(REQUEST, ["a"])
    assert isinstance(next(iter(asked)), Failure)
    assert party.num_examples == 1


def test_an_evaluation_tells_those_of_the_test_rows() -> None:
    engine, party = started(Update("a", {}, 3, metrics={"accuracy": 1.0}))
    assert [*engine.run(EvaluateRequest(WEIGHTS), ["a"])]
    assert (party.num_examples, len(party.test)) == (1, 3)
