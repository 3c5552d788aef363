"""Pause and stop between two batches, and the clock that stands still meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from fusion_nb.core import run_control
from fusion_nb.core.run_control import PausedTime, RunControl
from fusion_nb.errors import Stopped


class Clock:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(run_control, "time", made)
    return made


def in_thread(task: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=task, daemon=True)
    thread.start()
    return thread


def test_a_pause_holds_a_thread_until_it_is_resumed() -> None:
    control, passed = RunControl(), threading.Event()
    control.gate()
    control.pause()
    assert control.is_paused
    thread = in_thread(lambda: (control.gate(), passed.set()))
    assert not passed.wait(0.05)
    control.resume()
    thread.join(240)
    assert passed.is_set()


def test_a_stop_ends_a_pause_and_holds_until_it_is_withdrawn() -> None:
    control = RunControl()
    stopped = threading.Event()

    def pass_gate() -> None:
        try:
            control.gate()
        except Stopped:
            stopped.set()

    control.pause()
    thread = in_thread(pass_gate)
    control.stop()
    thread.join(240)
    assert stopped.is_set()
    assert control.is_stopping
    with pytest.raises(Stopped):
        control.gate()
    control.reset()
    control.gate()


def test_a_function_of_the_run_is_called_at_every_gate() -> None:
    calls: list[int] = []
    control = RunControl(on_gate=lambda: calls.append(1))
    control.gate()
    control.gate()
    assert calls == [1, 1]


def test_paused_time_counts_once_however_many_threads_are_paused(clock: Clock) -> None:
    paused = PausedTime()
    with paused, paused:
        clock.now += 5
    assert paused.clock() == 100.0
    clock.now += 2
    assert paused.clock() == 102.0


def test_the_clock_stands_still_while_a_thread_is_held(clock: Clock) -> None:
    control = RunControl()
    control.pause()
    thread = in_thread(control.gate)
    deadline = threading.Event()
    while control.clock() == clock.now:  # until the thread is at the gate
        clock.now += 1
        deadline.wait(0.001)
    before = control.clock()
    clock.now += 60
    assert control.clock() == before
    control.resume()
    thread.join(240)
    clock.now += 1
    assert control.clock() == before + 1
