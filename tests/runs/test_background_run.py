"""A run in the background: every way to start, wait, hold, step, stop and continue it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from fusion_nb.errors import Interrupted, OptionError, RunError

TIMEOUT = 60


def numbers(run: Any) -> list[int]:
    return [record.round for record in run.state.records]


def test_start_returns_at_once_and_wait_waits(drive: Any) -> None:
    driven = drive(6, held=True)
    run = driven.run
    assert run.state.status == "ready"
    run.start()
    assert run.state.status == "running"
    run.wait(timeout=0.01)
    assert (run.state.status, numbers(run)) == ("running", [])
    driven.source.allowed.set()
    run.wait()
    assert (run.state.status, numbers(run), run.state.planned) == (
        "finished",
        [1, 2, 3, 4, 5, 6],
        6,
    )
    assert driven.source.num_closed == 1


def test_a_stop_keeps_the_whole_rounds_and_more_continues_after_them(drive: Any) -> None:
    driven = drive(1000)
    run = driven.run
    driven.on_change = lambda: run.stop(wait=False) if len(run.state.records) == 3 else None
    run.start()
    run.wait()
    assert (run.state.status, numbers(run)) == ("stopped", [1, 2, 3])
    driven.on_change = lambda: None
    run.more(2)
    run.wait()
    assert (run.state.status, numbers(run), run.state.planned) == ("finished", [1, 2, 3, 4, 5], 5)
    assert driven.source.planned == [(1000, None), (5, 3)]


def test_a_paused_run_is_stepped_and_resumed(drive: Any) -> None:
    driven = drive(6, held=True)
    run = driven.run
    run.start()
    run.pause()
    driven.source.allowed.set()
    assert run.state.status == "paused"
    run.step()
    assert (run.state.status, numbers(run)) == ("paused", [1])
    run.settle()
    run.resume()
    run.wait()
    assert (run.state.status, len(run.state.records)) == ("finished", 6)


def test_a_paused_run_can_be_stopped(drive: Any) -> None:
    driven = drive(6, held=True)
    run = driven.run
    run.start()
    run.pause()
    driven.source.allowed.set()
    run.stop()
    assert (run.state.status, numbers(run)) == ("stopped", [])


def test_a_run_that_is_to_stop_can_not_be_paused(drive: Any) -> None:
    driven = drive(6, held=True)
    driven.run.start()
    driven.run.stop(wait=False)
    with pytest.raises(RunError, match="about to stop"):
        driven.run.pause()
    driven.source.allowed.set()
    driven.run.wait(TIMEOUT)
    assert driven.run.state.status == "stopped"


def test_a_step_that_is_stopped_in_its_round_does_not_hold_at_its_end(drive: Any) -> None:
    driven = drive(9)
    driven.source.before_record = lambda: driven.run.stop(wait=False)
    driven.run.step(wait=False)
    driven.run.wait()
    assert (driven.run.state.status, numbers(driven.run)) == ("stopped", [1])


def test_stepping_from_the_start_and_beyond_the_end(drive: Any) -> None:
    run = drive(3).run
    seen = []
    for _ in range(4):
        run.step()
        seen.append((run.state.status, len(run.state.records)))
    assert seen == [("paused", 1), ("paused", 2), ("finished", 3), ("finished", 4)]


def test_a_step_that_was_stopped_leaves_nothing_behind(drive: Any) -> None:
    driven = drive(6, held=True)
    driven.run.step(wait=False)
    driven.run.stop(wait=False)
    driven.source.allowed.set()
    driven.run.more(3)
    driven.run.wait(TIMEOUT)
    assert len(driven.run.state.records) == 3
    driven.run.step()
    assert (driven.run.state.status, len(driven.run.state.records)) == ("finished", 4)


def test_more_adds_rounds_to_a_run_under_way(drive: Any) -> None:
    driven = drive(6, held=True)
    driven.run.start()
    driven.run.more(2)
    driven.source.allowed.set()
    driven.run.wait()
    assert len(driven.run.state.records) == 8
    assert driven.source.planned == [(6, None), (8, 6)]


def test_more_waits_for_the_end_of_a_run_that_is_to_stop(drive: Any) -> None:
    driven = drive(6, held=True)
    driven.run.start()
    assert driven.source.begun.wait(TIMEOUT)
    driven.run.stop(wait=False)
    asker = threading.Thread(target=driven.run.more, args=(2,))
    asker.start()
    driven.source.allowed.set()
    asker.join(TIMEOUT)
    driven.run.wait()
    assert numbers(driven.run) == [1, 2]


def test_more_while_listeners_hear_of_the_end_is_not_lost(drive: Any) -> None:
    driven = drive(2)
    told, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        if driven.run.state.status == "finished" and not told.is_set():
            told.set()
            assert go_on.wait(TIMEOUT)

    driven.on_change = slow
    driven.run.start()
    assert told.wait(TIMEOUT)
    asker = threading.Thread(target=driven.run.more, args=(3,))
    asker.start()
    go_on.set()
    asker.join(TIMEOUT)
    driven.run.wait()
    assert (driven.run.state.status, numbers(driven.run)) == ("finished", [1, 2, 3, 4, 5])


def test_more_asked_for_by_two_threads_trains_once(drive: Any) -> None:
    driven = drive(2)
    told, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        if driven.run.state.status == "finished" and not told.is_set():
            told.set()
            assert go_on.wait(TIMEOUT)

    driven.on_change = slow
    driven.run.start()
    assert told.wait(TIMEOUT)
    askers = [threading.Thread(target=driven.run.more, args=(5,)) for _ in range(2)]
    for asker in askers:
        asker.start()
    go_on.set()
    for asker in askers:
        asker.join(TIMEOUT)
    driven.run.wait()
    assert numbers(driven.run) == list(range(1, 13))


def test_more_asked_for_by_a_listener_as_early_stopping_fires(drive: Any) -> None:
    driven = drive(3, early_stopping=[lambda history: "enough"])
    run = driven.run
    driven.on_change = lambda: (
        run.more(2) if run.state.reason and len(run.state.records) == 1 else None
    )
    run.start()
    run.wait()
    assert (len(run.state.records), run.state.stops_early) == (5, False)


def test_a_step_raises_the_error_that_ended_it(drive: Any) -> None:
    driven = drive(3)
    driven.source.before_record = lambda: [][1]
    with pytest.raises(IndexError):
        driven.run.step()


def test_requests_that_make_no_sense_are_refused(drive: Any) -> None:
    driven = drive(2, held=True)
    run = driven.run
    for request in (run.pause, run.resume):
        with pytest.raises(RunError, match="ready"):
            request()
    run.start()
    for request in (run.start, run.step, run.resume):
        with pytest.raises(RunError, match="running"):
            request()
    driven.source.allowed.set()
    run.wait()
    with pytest.raises(RunError, match="finished"):
        run.start()


@pytest.mark.parametrize("rounds", ["3", 2.5, 0, -1])
def test_more_wants_a_whole_number_of_rounds(drive: Any, rounds: Any) -> None:
    with pytest.raises(OptionError, match="whole number") as caught:
        drive().run.more(rounds)
    assert (caught.value.option, caught.value.value) == ("rounds", rounds)


def test_a_source_may_refuse_a_request(drive: Any) -> None:
    driven = drive()

    def refuse(request: str) -> None:
        raise RunError(f"no {request}")

    driven.source.check_request = refuse
    for request in ("pause", "step", "more"):
        with pytest.raises(RunError, match=f"no {request}"):
            getattr(driven.run, request)()
    driven.run.start()
    driven.run.stop()


def test_waiting_for_a_paused_run_is_refused(drive: Any) -> None:
    run = drive(3).run
    run.step()
    with pytest.raises(RunError, match="is paused"):
        run.wait()
    run.resume()
    run.wait()
    assert run.state.status == "finished"


def test_a_run_that_is_paused_while_it_is_waited_for_says_so(drive: Any) -> None:
    driven = drive(50)
    run = driven.run

    def pause() -> None:
        if len(run.state.records) == 2 and run.state.status == "running":
            run.pause()

    driven.on_change = pause
    run.start()
    with pytest.raises(RunError, match="is paused"):
        run.wait()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def main_thread_stack() -> list[str]:
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    return [entry.name for entry in traceback.extract_stack(frame)]


@pytest.mark.parametrize("waiting", ["wait", "step"])
def test_an_interrupt_of_the_thread_that_waits_stops_the_run(drive: Any, waiting: str) -> None:
    driven = drive(6, held=True)
    run = driven.run
    if waiting == "wait":
        run.start()

    def interrupt() -> None:
        until(lambda: "wait_until" in main_thread_stack())
        os.kill(os.getpid(), signal.SIGINT)
        # No round may end before the stop, or there would be nothing to interrupt.
        until(lambda: driven.source.control.is_stopping)
        driven.source.allowed.set()

    interrupter = threading.Thread(target=interrupt, daemon=True)
    interrupter.start()
    with pytest.raises(Interrupted, match="stopped after round 0 of 6") as caught:
        getattr(run, waiting)()
    interrupter.join(TIMEOUT)
    assert run.state.status == "stopped"
    assert "more(6)" in caught.value.hint


def test_the_thread_ends_with_the_run(drive: Any) -> None:
    driven = drive(2, held=True)
    driven.run.start()
    (thread,) = (t for t in threading.enumerate() if t.name == "fusion_nb run")
    driven.source.allowed.set()
    driven.run.wait()
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def test_a_listener_may_ask_for_more_from_the_training_thread(drive: Any) -> None:
    driven = drive(2)
    asked: list[Callable[[], None]] = []

    def more() -> None:
        if driven.run.state.status == "finished" and not asked:
            asked.append(more)
            driven.run.more(2)

    driven.on_change = more
    driven.run.start()
    driven.run.wait()
    driven.run.wait()
    assert numbers(driven.run)[:2] == [1, 2]
    driven.run.settle()
    assert numbers(driven.run) == [1, 2, 3, 4]
