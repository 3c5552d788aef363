"""A run as users have it: its history, its models, its specs, and what it answers while it goes
on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.core.run_control import RunControl
from fusion_nb.engines.progress import Progress
from fusion_nb.errors import DivergedError, OptionError, RunError

TIMEOUT = 60


class Waiting(nn.Module):
    """A network that waits for an event in its batches of training, in whichever copy trains.

    It does not wait before `waits` is set: some batches are tried when a run is made.
    """

    waits = False

    def __init__(self, allowed: threading.Event) -> None:
        super().__init__()
        self.layer, self.allowed = nn.Linear(5, 3), allowed
        Waiting.waits = False

    def __deepcopy__(self, memo: Any) -> Waiting:
        waits = Waiting.waits
        made = Waiting(self.allowed)
        made.layer.load_state_dict(self.layer.state_dict())
        Waiting.waits = waits
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and Waiting.waits:
            assert self.allowed.wait(TIMEOUT)
        return self.layer(x)


@pytest.fixture
def held(run_of: Any) -> Iterator[tuple[Run, threading.Event]]:
    """A run of 3 rounds whose first batch waits until the event is set."""
    allowed = threading.Event()
    run = run_of(Waiting(allowed), rounds=3)
    Waiting.waits = True
    yield run, allowed
    allowed.set()
    run.stop()


@pytest.mark.parametrize("answer", ["history", "model", "parties", "summary"])
def test_an_answer_waits_for_a_run_under_way(held: Any, answer: str) -> None:
    run, allowed = held
    run.start()
    answers: list[Any] = []

    def ask() -> None:
        found = getattr(run, answer)
        answers.append((found() if callable(found) and answer == "summary" else found, run.status))

    asker = threading.Thread(target=ask)
    asker.start()
    assert answers == []
    allowed.set()
    asker.join(TIMEOUT)
    assert answers[0][1] == "finished"


def test_a_pause_is_no_part_of_a_rounds_time(held: Any) -> None:
    run, allowed = held
    started = time.perf_counter()
    run.start().pause()
    allowed.set()
    paused = time.perf_counter()
    threading.Event().wait(0.3)
    paused = time.perf_counter() - paused
    run.resume().wait()
    total = time.perf_counter() - started
    # The first batch may have gone on for a moment after the pause was asked for.
    assert sum(record.seconds for record in run.history) < total - paused / 2


def test_the_model_stays_the_same_object_until_there_are_further_rounds(
    run_of: Any, net: Any
) -> None:
    run = run_of(net(), rounds=1).start().wait()
    before = run.model
    assert run.model is before
    run.more(1).wait()
    assert run.model is not before


def test_the_best_round_has_its_own_weights_and_model(run_of: Any, net: Any) -> None:
    run = run_of(net(), rounds=6, monitor="train_loss", lr=0.5).start().wait()
    best = run.best
    assert best.value == min(run.history["train_loss"])
    again = run_of(best.model, rounds=1, lr=1e-12, seed=0).start().wait()
    assert again.history["loss"][0] == pytest.approx(run.history["loss"][best.round - 1], rel=1e-4)


def test_there_is_no_best_round_before_the_first(run_of: Any, net: Any) -> None:
    with pytest.raises(RunError, match="no whole round"):
        _ = run_of(net()).best


def test_history_is_a_copy(run_of: Any, net: Any) -> None:
    run = run_of(net(), rounds=2).start().wait()
    run.history.clear()
    assert len(run.history) == 2


def test_a_run_that_was_stopped_continues_the_same_curve(run_of: Any, net: Any) -> None:
    whole = run_of(net(), rounds=5).start().wait()
    run = run_of(net(), rounds=1000)
    unsubscribe = run.subscribe(lambda run: run.stop(wait=False) if len(run.records) == 3 else None)
    run.start().wait()
    assert (run.status, len(run.history)) == ("stopped", 3)
    assert run.best.weights
    unsubscribe()
    assert run.more(2).wait().status == "finished"
    assert run.history["loss"] == whole.history["loss"]


def test_a_listener_that_fails_is_heard_once_and_ends_nothing(
    run_of: Any, net: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(net())
    run.subscribe(lambda run: 1 / 0)
    assert run.start().wait().status == "finished"
    assert capsys.readouterr().err.count("ZeroDivisionError") == 1


def test_a_subscription_ends_where_it_is_told_to(run_of: Any, net: Any) -> None:
    run, heard = run_of(net(), rounds=1), []
    end = run.subscribe(heard.append)
    end()
    run.start().wait()
    assert heard == []


def test_the_spec_repeats_the_rounds_that_were_added(run_of: Any, net: Any, rows: Any) -> None:
    run = run_of(net(), rounds=2, until="loss < -1").start().wait()
    assert run.spec.until
    run.more(3).wait()
    assert (run.spec.rounds, run.spec.until) == (5, "")
    again = Run(run.spec, {"model": net(), "data": rows}).start().wait()
    assert again.history["loss"] == run.history["loss"]


def test_the_spec_drops_early_stopping_once_it_was_overridden(run_of: Any, net: Any) -> None:
    run = run_of(net(), rounds=10, until="loss < 100").start().wait()
    assert (len(run.history), run.spec.until) == (1, "loss < 100")
    run.more(9).wait()
    assert (run.spec.rounds, run.spec.until) == (10, "")
    stepped = run_of(net(), rounds=10, until="loss < 100").start().wait().step()
    assert (len(stepped.history), stepped.spec.until, stepped.status) == (2, "", "paused")
    stepped.stop()


def test_the_completed_spec_has_the_rounds_that_there_are(run_of: Any, net: Any) -> None:
    run = run_of(net(), rounds=5)
    assert (run.completed_spec.rounds, run.outcome.specs.repeatable().rounds) == (5, 5)
    run.step().stop()
    assert (run.spec.rounds, run.completed_spec.rounds) == (5, 1)
    assert run.outcome.specs.repeatable() == run.completed_spec
    assert "--rounds 1" in run.result().cell


def test_failures_of_a_round_that_was_given_up_are_kept(run_of: Any, net: Any) -> None:
    run = run_of(net(), lr=1e25)
    with pytest.raises(DivergedError):
        run.start().wait()
    assert [failure.party for failure in run.failures] == ["party 1"]
    assert "DivergedError" in run.failures[0].traceback
    assert run.failures[0].exception is None
    assert "<summary>traceback</summary>" in run._repr_mimebundle_()["text/html"]


def test_errors_name_options_as_python_has_them(run_of: Any, net: Any) -> None:
    with pytest.raises(OptionError, match=r"^fraction=0.5, but with lag") as caught:
        run_of(net(), fraction=0.5, fusion="lag")
    assert (caught.value.option, caught.value.value) == ("fraction", "0.5")
    with pytest.raises(OptionError, match=r"^lr=-1 is not allowed"):
        run_of(net()).change(lr=-1)


def test_a_control_of_the_callers_own_is_passed_between_batches(rows: Any, net: Any) -> None:
    passed: list[None] = []
    control = RunControl(on_gate=lambda: passed.append(None))
    run = Run(RunSpec(data="data", rounds=1), {"model": net(), "data": rows}, control=control)
    run.start().wait()
    assert len(passed) >= 8, "4 parties with 2 batches each"


def test_every_reply_of_a_round_is_progress(run_of: Any, net: Any) -> None:
    run, heard = run_of(net(), parties=3, rounds=2), []
    run.on_progress(heard.append)
    run.start().wait()
    assert heard == [Progress(number, 3, replies) for number in (1, 2) for replies in (1, 2, 3)]


def test_progress_names_the_parties_that_failed(run_of: Any, net: Any) -> None:
    run, heard = run_of(net(), parties=6, dropout=0.5, seed=1, rounds=2), []
    run.on_progress(heard.append)
    run.start().wait()
    last = [progress for progress in heard if progress.round == 1][-1]
    assert last.num_replies == 6
    assert last.failed
    assert set(last.failed) == {failure.party for failure in run.history[0].failures}


def test_a_listener_of_progress_that_fails_ends_no_training(
    run_of: Any, net: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run, heard = run_of(net(), rounds=2), []

    def fails(progress: Progress) -> None:
        heard.append(progress)
        raise OSError("no screen")

    run.on_progress(fails)
    assert len(run.start().wait().history) == 2
    assert len(heard) == 1, "it is not heard again"
    assert "no screen" in capsys.readouterr().err


def test_a_listener_of_progress_can_leave(run_of: Any, net: Any) -> None:
    run, heard = run_of(net(), rounds=1), []
    run.on_progress(heard.append)()
    run.start().wait()
    assert heard == []
