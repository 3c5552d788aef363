"""The history: columns, tables, JSON, and the best round."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from core_runs import run_of

from fusion_nb.core.history import History, better, from_dict, to_dict
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import OptionError


def test_columns_frame_and_json(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), rounds=3).start().wait()
    frame = run.history.to_frame()
    assert frame.index.tolist() == [1, 2, 3]
    assert frame["loss"].tolist() == run.history["loss"]
    assert '"party_metrics"' in run.history.to_json()
    assert [
        from_dict(json.loads(json.dumps(to_dict(record)))) for record in run.records
    ] == run.records
    assert isinstance(run.history[1:], History)
    assert run.history.party("party 2", "accuracy")[-1] == run.parties[1].fused["accuracy"]
    with pytest.raises(OptionError, match="did you mean 'accuracy'"):
        _ = run.history["acuracy"]


def test_the_history_of_a_run_is_a_copy(rows: Any, net: Any) -> None:
    run = run_of(rows, net(), rounds=2).start().wait()
    run.history.clear()
    assert len(run.history) == 2


def test_better_knows_the_direction_and_nan() -> None:
    assert better("accuracy", 0.9, 0.8)
    assert better("loss", 0.8, 0.9)
    assert better("loss", 0.8, float("nan"))
    assert not better("loss", float("nan"), 0.8)


def record(number: int, accuracy: float, party: str = "a") -> RoundRecord:
    metrics = {"accuracy": accuracy, f"only_{number % 2}": float(number)}
    return RoundRecord(number, metrics, {party: {"loss": accuracy}}, (party,), 0.1, 4, 4)


def answers(history: History) -> list[Any]:
    return [
        history.metrics(),
        history.last(),
        history.latest(),
        history.best("accuracy"),
        history.best("only_1"),
        history.best("absent"),
    ]


RECORDS = [record(i, value, "ab"[i % 2]) for i, value in enumerate([0.2, 0.9, 0.5, 0.9, 0.1])]


def extended(history: History) -> None:
    history.append(record(6, 0.95))


def last_replaced(history: History) -> None:
    history[-1] = record(5, 0.99)


def best_replaced(history: History) -> None:
    history[1] = record(1, 0.0)


def cut(history: History) -> None:
    del history[2:]


def cut_and_extended(history: History) -> None:
    del history[1:]
    history.extend([record(1, 0.3, "c"), record(2, 0.4), record(3, 0.35)])


def first_inserted(history: History) -> None:
    history.insert(0, record(0, 0.97, "c"))


def cleared(history: History) -> None:
    history.clear()


@pytest.mark.parametrize(
    "change",
    [extended, last_replaced, best_replaced, cut, cut_and_extended, first_inserted, cleared],
)
def test_values_over_rounds_follow_every_change(change: Callable[[History], None]) -> None:
    history = History(RECORDS)
    answers(history)  # they are kept from here on
    change(history)
    assert answers(history) == answers(History(list(history)))


def test_each_record_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[int] = []

    class Seen(dict[str, float]):
        def items(self) -> Any:
            looked_at.append(1)
            return super().items()

    history = History()
    for number in range(100):
        history.append(RoundRecord(number, {}, Seen({}), (), 0.1, 4, 4))
        history.latest()
    assert len(looked_at) == 100


def test_answers_may_be_changed_without_harm() -> None:
    history = History(RECORDS)
    history.latest()["a"]["loss"] = -1.0
    history.last()["accuracy"] = -1.0
    history.metrics().append("mine")
    assert answers(history) == answers(History(RECORDS))


def test_a_copy_and_a_pickle_have_the_same_rounds() -> None:
    history = History(RECORDS)
    answers(history)
    for other in (copy.copy(history), copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert isinstance(other, History)
        assert other == history
        assert answers(other) == answers(history)


def test_a_record_as_values_has_every_field_in_order() -> None:
    made = RoundRecord(1, {"loss": math.nan}, {"a": {"loss": 1.0}}, ("a",), 0.1, 4, 4)
    found = to_dict(made)
    names = [field.name for field in dataclasses.fields(RoundRecord)]
    assert list(found) == [name for name in names if name != "trips"]  # no time is simulated
    assert found["metrics"] == {"loss": None}
    found["changes"]["lr"] = 0.1
    assert not made.changes
    text = History([made, made]).to_json()
    assert json.loads(text) == [json.loads(json.dumps(to_dict(made)))] * 2
