"""The state that a party keeps between rounds, and what it drops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from core_runs import ClassMeans, run_of

from fusion_nb import RunSpec
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import EngineWrapper
from fusion_nb.core.types import (
    Failure,
    FederationInfo,
    LocalContext,
    NoUpdate,
    RoundRequest,
    TrainingResult,
    Update,
)
from fusion_nb.errors import DivergedError, PartyError
from fusion_nb.runs.build import build


class Counting(ClassMeans):
    """A model that counts its trainings in the party's state, and may measure no number."""

    loss = 1.0

    def fit(self, data: Any, *, state: Any = None, **options: Any) -> TrainingResult:
        state["tries"] = state.get("tries", 0) + 1
        return TrainingResult(self.get_weights(), {"loss": 1.0}, 1, 1.0)

    def evaluate(self, data: Any) -> Any:
        return {"loss": self.loss}


def request(model: ClassMeans, round: int, **options: Any) -> RoundRequest:
    info = FederationInfo(1, ("means",), frozenset({"means"}))
    return RoundRequest(round, model.get_weights(), {}, {}, 0, info, **options)


@pytest.fixture
def party(rows: Any) -> Party:
    return Party("one", rows, rows)


def test_a_failed_round_leaves_the_state_as_it_was(party: Party) -> None:
    model = Counting()
    assert isinstance(party.answer(request(model, 1), model), Update)
    model.loss = float("nan")
    failure = party.answer(request(model, 2), model)
    assert isinstance(failure, Failure)
    assert isinstance(failure.exception, DivergedError)
    assert "the test loss of one became nan in round 2" in failure.error
    assert party.state == {"tries": 1}


def test_a_round_that_is_asked_for_again_starts_from_the_same_state(party: Party) -> None:
    model = Counting()
    for round, tries in ((1, 1), (2, 2), (2, 2), (3, 3)):
        party.answer(request(model, round), model)
        assert party.state == {"tries": tries}


def test_another_fusion_finds_nothing_of_the_one_before(party: Party) -> None:
    model = Counting()
    seen: list[dict[str, Any]] = []

    def remembering(context: LocalContext) -> NoUpdate:
        seen.append(dict(context.state))
        context.state["round"] = context.round
        context.train(context.weights)
        return context.no_update()

    for round, since in ((1, 0), (2, 0), (3, 3), (4, 3)):
        asked = request(model, round, local_update=remembering, fusion_since=since)
        assert isinstance(party.answer(asked, model), NoUpdate)
    assert seen == [{}, {"round": 1}, {}, {"round": 3}]


def test_its_persistent_state_continues_at_another_object(party: Party, rows: Any) -> None:
    model = Counting()
    party.answer(request(model, 1), model)
    other = Party("one", rows, rows)
    other.persistent_state = party.persistent_state
    other.answer(request(model, 2), model)
    assert other.state == {"tries": 2}
    assert party.state == {"tries": 1}
    assert Party("new", rows).persistent_state is None


def test_an_optimizer_that_is_kept_continues(rows: Any, net: Any) -> None:
    options = {"parties": 1, "batch_size": 192, "optimizer": "adam", "lr": 0.01}
    one_long = run_of(rows, net(), rounds=1, epochs=4, **options).start().wait()
    kept = run_of(rows, net(), rounds=4, keep_optimizer=True, **options).start().wait()
    fresh = run_of(rows, net(), rounds=4, **options).start().wait()

    def first_layer(run: Any) -> Any:
        return run.model.state_dict()["0.weight"]

    assert torch.allclose(first_layer(one_long), first_layer(kept), atol=1e-6)
    assert not torch.allclose(first_layer(one_long), first_layer(fresh), atol=1e-3)


def test_a_round_that_is_given_up_changes_nothing_for_the_next(rows: Any, net: Any) -> None:
    class LastAway(EngineWrapper):
        is_away = False

        def run(self, request: Any, cohort: Any) -> Any:
            for reply in super().run(request, cohort):
                is_lost = self.is_away and reply.party == cohort[-1]
                yield Failure(reply.party, "is away") if is_lost else reply

    def made(engine: Any = None) -> Federation:
        spec = RunSpec(data="data", optimizer="sgd:momentum=0.9", keep_optimizer=True, parties=3)
        found = build(spec, {"model": net(), "data": rows})
        engine = engine or LastAway(found.network.engine)
        return Federation(found.parties, found.model, found.fusion, engine, found.config)

    expected = [record.metrics for record in made().rounds(3)]
    broken = made()
    metrics = [record.metrics for record in broken.rounds(1)]
    assert isinstance(broken.network.engine, LastAway)
    broken.network.engine.is_away = True
    with pytest.raises(PartyError):
        list(broken.rounds(1))
    broken.network.engine.is_away = False
    assert metrics + [record.metrics for record in broken.rounds(2)] == expected
