"""How far a run in the background is, and why it ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fusion_nb.core.history import History
from fusion_nb.runs.training_thread import Goal


def numbers(run: Any) -> list[int]:
    return [record.round for record in run.state.records]


def test_early_stopping_ends_a_run_with_its_reason(drive: Any) -> None:
    run = drive(9, early_stopping=[lambda history: "enough" if len(history) == 2 else ""]).run
    run.start()
    run.wait()
    assert (run.state.status, run.state.reason, len(run.state.records)) == ("finished", "enough", 2)
    assert run.state.stops_early
    run.step()
    assert (run.state.status, len(run.state.records), run.state.stops_early) == ("paused", 3, False)


def test_a_source_may_end_a_run_with_its_reason(drive: Any) -> None:
    driven = drive(9)
    rounds = driven.source.rounds

    def two(num_rounds: int) -> Iterator[Any]:
        yield from rounds(2)
        driven.source.reason = "ended elsewhere"

    driven.source.rounds = two
    driven.run.start()
    driven.run.wait()
    assert (driven.run.state.status, driven.run.state.reason) == ("finished", "ended elsewhere")


def test_an_error_fails_the_run_and_is_raised_where_it_is_waited_for(drive: Any) -> None:
    driven = drive(3)
    driven.source.before_record = lambda: [][1]
    driven.run.start()
    with pytest.raises(IndexError):
        driven.run.wait()
    assert driven.run.state.status == "failed"
    assert driven.run.state.reason == "IndexError: list index out of range"
    driven.source.before_record = lambda: None
    driven.run.more(1)
    driven.run.wait()
    assert (driven.run.state.status, driven.run.state.error, numbers(driven.run)) == (
        "finished",
        None,
        [1],
    )


def test_a_stop_after_the_last_round_is_told(drive: Any) -> None:
    driven = drive(1)

    def finish() -> None:
        driven.run.stop(wait=False)
        driven.source.control.gate()

    driven.source.finishing = finish
    driven.run.start()
    driven.run.wait()
    assert driven.run.state.status == "finished"
    assert "models of their own" in driven.run.state.reason


def test_each_change_of_status_is_told(drive: Any) -> None:
    driven = drive(2)
    driven.run.start()
    driven.run.wait()
    assert driven.told == ["running", "running", "running", "finished"]


def test_records_are_a_copy(drive: Any) -> None:
    run: Any = drive(2).run
    run.start()
    run.wait()
    run.state.records.clear()
    assert len(run.state.records) == 2


def test_a_goal_names_the_first_reason_to_end_early(drive: Any) -> None:
    run = drive(2).run
    run.start()
    run.wait()
    goal = Goal(9, [lambda history: "", lambda history: f"after {len(history)}", lambda _: "late"])
    assert goal.early_reason(run.state.records) == "after 2"
    assert goal.early_reason(History()) == "", "no predicate is asked before the first round"
    assert Goal(9).early_reason(run.state.records) == ""
