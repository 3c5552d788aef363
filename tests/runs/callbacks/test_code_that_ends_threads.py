"""Callbacks, listeners and outputs of the user's own that raise anything: no run ends or hangs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb import Run, RunSpec
from fusion_nb.core.process.foreign_errors import said, text_of
from fusion_nb.runs.listeners import Listeners

torch = pytest.importorskip("torch")

ROWS = (
    np.random.default_rng(0).normal(size=(40, 3)).astype("float32"),
    np.arange(40) % 2,
)
#: Seconds after which a run that hangs fails its test.
TIMEOUT = 200


class UntellableError(Exception):
    """An error whose text can't be told."""

    def __str__(self) -> str:
        raise SystemExit(5)


ERRORS = [
    ValueError("bad"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    MemoryError("full"),
    StopIteration(),
    UntellableError(),
]


def made() -> Run:
    """Return a run of two rounds."""
    return Run(
        RunSpec(model="model", data="rows", parties=2, rounds=2),
        {"model": torch.nn.Linear(3, 2), "rows": ROWS},
    )


def ended(run: Run) -> Run:
    run.start()
    run.wait(TIMEOUT)
    assert run.status == "finished"
    assert len(run.history) == 2
    return run


class Raising(fusion_nb.Callback):
    """Raises an error at one place."""

    def __init__(self, place: str, error: BaseException) -> None:
        self.place, self.error = place, error

    def meet(self, place: str) -> None:
        if place == self.place:
            raise self.error

    def on_start(self, run: Any) -> None:
        self.meet("on_start")

    def on_round(self, run: Any, record: Any) -> None:
        self.meet("on_round")

    def on_end(self, run: Any) -> None:
        self.meet("on_end")


@pytest.mark.parametrize("place", ["on_start", "on_round", "on_end"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_no_error_of_a_callback_ends_the_run(place: str, error: BaseException) -> None:
    run = made()
    run.callbacks.add(Raising(place, error))
    ended(run)
    (note,) = [note for note in run.notes if "the callback Raising raised" in note]
    assert said(error) in note
    assert len(note.splitlines()) == 1


class Hidden(fusion_nb.Callback):
    """Raises an error after each round, and can't tell its name or its notes either."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @property
    def name(self) -> str:
        raise self.error

    @property
    def notes(self) -> list[str]:
        raise self.error

    def on_round(self, run: Any, record: Any) -> None:
        raise self.error

    def on_end(self, run: Any) -> None:
        raise self.error


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), UntellableError()])
def test_a_callback_that_can_not_tell_its_name(error: BaseException) -> None:
    run = made()
    run.callbacks.add(Hidden(error))
    assert any("the callback Hidden can't tell its notes" in note for note in run.notes)
    ended(run)
    assert any("the callback Hidden raised" in note for note in run.notes)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_no_error_of_a_listener_ends_the_run(error: BaseException) -> None:
    def listener(event: Any) -> None:
        seen.append(event)
        raise error

    seen: list[Any] = []
    run = made()
    run.subscribe(listener)
    ended(run)
    assert len(seen) == 1


def test_an_interrupt_of_the_user_is_no_listeners_error() -> None:
    def interrupted(event: str) -> None:
        raise KeyboardInterrupt

    listeners: Listeners[str] = Listeners()
    listeners.add(interrupted)
    with pytest.raises(KeyboardInterrupt):  # this is the main thread
        listeners.notify("round 1")


class Answer:
    """An answer that can't be looked at."""

    def __bool__(self) -> bool:
        raise SystemExit(4)

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise SystemExit(4)


def test_an_answer_that_can_not_be_looked_at_ends_nothing() -> None:
    run = made()
    run.callbacks.add(Returning(Answer()))
    ended(run)
    assert any("returned Answer, which ends no run" in note for note in run.notes)


class Returning(fusion_nb.Callback):
    """Returns a value after each round."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def on_round(self, run: Any, record: Any) -> Any:
        return self.value


class Closed:
    """An output that takes nothing."""

    def write(self, text: str) -> int:
        raise OSError("closed")

    def flush(self) -> None:
        raise OSError("closed")


@pytest.mark.parametrize("output", [Closed, lambda: None], ids=["closed", "none"])
def test_an_output_that_takes_no_traceback_ends_nothing(
    output: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made()
    run.callbacks.add(Raising("on_round", ValueError("bad")))
    run.subscribe(Raising("on_start", ValueError("bad")).on_start)
    monkeypatch.setattr(sys, "stderr", output())
    ended(run)
    assert any("raised ValueError: bad" in note for note in run.notes)


def test_the_text_of_an_error_is_one_line_of_some_length() -> None:
    assert text_of(ValueError("a\nb")) == "a"
    assert len(text_of(ValueError("x" * 10_000))) == 300
    assert said(UntellableError()) == "UntellableError"


def test_a_source_that_can_not_be_closed_does_not_hang_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = made()

    def fails() -> None:
        raise SystemExit("no")

    monkeypatch.setattr(type(run.federation), "close", lambda self: fails())
    run.start()
    with pytest.raises(SystemExit):
        run.wait(TIMEOUT)
    assert run.status == "failed"
