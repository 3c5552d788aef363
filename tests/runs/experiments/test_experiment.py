"""Experiments: their runs are those by hand, rows for failures, steering, and what they show."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb import Experiment, sweep
from fusion_nb.errors import FusionError, Interrupted, RunError


def test_each_run_is_the_run_of_its_options_by_hand(net: Callable[..., Any], rows: Any) -> None:
    made = sweep(
        net(), rows, fusion="fedavg,scaffold", lr=[0.05, 0.1], seeds=range(2), rounds=2, parties=3
    )
    assert [trial.status for trial in made.runs] == ["finished"] * 8
    for trial in made.runs:
        alone = fusion_nb.federate(
            net(), rows, **trial.settings, seed=trial.seed, rounds=2, parties=3
        )
        assert trial.history["loss"] == alone.history["loss"]


def test_a_function_builds_the_model_of_each_seed(short_sweep: Any) -> None:
    made = short_sweep(seeds="0-2")
    first = {trial.facts.initial_sha256 for trial in made.runs}
    assert len(first) == 3
    held = short_sweep(seeds="0-2", hold="weights")
    assert len({trial.facts.initial_sha256 for trial in held.runs}) == 1


def test_a_model_that_was_built_before_is_told(net: Any, rows: Any) -> None:
    made = fusion_nb.federate(net(), rows, seeds=[0, 1], rounds=1, parties=2, lr=0.1)
    assert isinstance(made, Experiment)
    assert any("was built before" in note for note in made.notes)


def test_a_frame_has_a_column_for_each_thing_that_varies(short_sweep: Any) -> None:
    frame = short_sweep(fusion="fedavg,fedprox:mu=[0.1,1]", lr=[0.05, 0.1], seeds="0-1").to_frame()
    assert len(frame) == 12
    assert {"fusion", "fusion.mu", "lr", "seed", "status", "accuracy"} <= {*frame.columns}
    assert sorted(frame["fusion.mu"].dropna().unique()) == [0.1, 1]


def test_a_run_that_fails_is_a_row_with_its_reason(short_sweep: Any) -> None:
    made = short_sweep(fusion="fedavg,krum,median", seeds="0-1", rounds=1)
    failed = [trial for trial in made.runs if trial.status == "failed"]
    assert {trial.settings["fusion"] for trial in failed} == {"krum"}
    assert all("needs 5 parties" in trial.reason for trial in failed)
    assert made.status == "finished"
    assert len(made.failed()) == 2


def test_a_run_that_raises_in_training_is_a_row(short_sweep: Any) -> None:
    @fusion_nb.fusion
    def broken(weights: Any, updates: Any) -> Any:
        raise ZeroDivisionError("at last")

    made = short_sweep(fusion="fedavg,broken")
    assert [trial.status for trial in made.runs] == ["finished", "failed"]
    assert "at last" in made.runs[1].reason


@pytest.mark.parametrize(
    "options",
    [{"fusion": "krum"}, {"rounds": 0}, {"monitor": "nope"}, {"split": "nope"}, {"seeds": "0-x"}],
)
def test_a_mistake_of_all_runs_is_told_before_any_training(short_sweep: Any, options: Any) -> None:
    with pytest.raises(FusionError) as found:
        short_sweep(**{"seeds": "0-1"} | options)
    assert "--" not in found.value.message


def test_the_best_run_has_its_model_and_no_other_is_kept(short_sweep: Any) -> None:
    made = short_sweep(lr=[1e-5, 0.2], rounds=3)
    assert made.best.settings["lr"] == 0.2
    assert made.best.run.model is not None
    assert [trial.run is None for trial in made.runs] == [True, False]


def test_best_without_a_finished_run_says_so(build: Any, rows: Any) -> None:
    from fusion_nb.runs.experiments.spec import ExperimentSpec

    spec = ExperimentSpec.of({"model": "m", "data": "d", "rounds": 1, "parties": 2})
    made = Experiment(spec, {"m": build, "d": rows})
    with pytest.raises(RunError, match="no run of experiment is finished"):
        _ = made.best
    assert "ready, 1 run" in repr(made)


def test_a_stopped_experiment_goes_on_with_the_runs_that_are_left(short_sweep: Any) -> None:
    made = short_sweep(lr=[0.01, 0.1], seeds="0-1", background=True)
    seen = threading.Event()

    def stop_after_two(made: Experiment) -> None:
        if sum(trial.status == "finished" for trial in made.runs) == 2 and not seen.is_set():
            seen.set()
            made.stop(wait=False)

    made.subscribe(stop_after_two)
    made.wait()
    if made.status == "stopped":
        assert sum(trial.status == "finished" for trial in made.runs) >= 2
        made.start().wait()
    assert made.status == "finished"
    whole = short_sweep(lr=[0.01, 0.1], seeds="0-1")
    for trial, other in zip(made.runs, whole.runs, strict=True):
        assert trial.history["loss"] == other.history["loss"]


def test_an_interrupt_stops_it_and_says_how_to_go_on(short_sweep: Any) -> None:
    made = short_sweep(rounds=100_000, lr=[0.01, 0.1], background=True)
    sent = threading.Event()

    def interrupt(made: Experiment) -> None:
        if not sent.is_set() and any(trial.records for trial in made.runs):
            sent.set()
            os.kill(os.getpid(), signal.SIGINT)

    made.subscribe(interrupt)
    with pytest.raises(Interrupted, match="was stopped"):
        made.wait()
    assert made.status == "stopped"
    assert {trial.status for trial in made.runs} == {"stopped", "waiting"}


def test_a_pause_holds_it_and_a_wait_says_so(short_sweep: Any) -> None:
    made = short_sweep(rounds=100_000, background=True)
    made.pause()
    with pytest.raises(RunError, match="paused"):
        made.wait()
    made.resume()
    made.stop()
    assert made.status == "stopped"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_was_held_is_trained_to_its_end(short_sweep: Any, workers: int) -> None:
    options: dict[str, Any] = {"rounds": 30, "seeds": "0-1", "workers": workers}
    made = short_sweep(**options, background=True)
    held = threading.Event()

    def hold(made: Any) -> None:
        if not held.is_set() and len(made.runs[0].records) >= 2:
            made.pause()
            held.set()

    made.subscribe(hold)
    assert held.wait(60)
    made.wait(timeout=0.5)
    made.resume()
    made.wait()
    assert [(trial.status, len(trial.records)) for trial in made.runs] == [("finished", 30)] * 2
    here = short_sweep(**options | {"workers": 0})
    assert [t.history["loss"] for t in made.runs] == [t.history["loss"] for t in here.runs]


def test_a_schedule_of_the_call_is_that_of_every_run(short_sweep: Any) -> None:
    def halves(round: int) -> float:
        return 0.1 / 2**round

    made = short_sweep(lr=[0.1, 0.2], lr_schedule=halves)
    assert [trial.status for trial in made.runs] == ["finished"] * 2
    constant = short_sweep(lr=[0.1, 0.2])
    assert made.runs[0].history["loss"] != constant.runs[0].history["loss"]


def test_steering_that_has_no_use_is_refused(short_sweep: Any) -> None:
    made = short_sweep()
    for ask in (made.pause, made.resume, made.start):
        with pytest.raises(RunError):
            ask()


def test_runs_of_calls_have_names_of_their_own(net: Any, rows: Any) -> None:
    from fusion_nb.runs.session import RUNS

    for _ in range(3):
        fusion_nb.federate(net(), rows, rounds=1, parties=2, lr=0.1)
    assert [*RUNS] == ["run", "run_2", "run_3"]


def test_old_runs_of_calls_are_forgotten(net: Any, rows: Any) -> None:
    from fusion_nb.runs.session import RUNS

    few = rows[0][:30], rows[1][:30]
    for _ in range(23):
        latest = fusion_nb.federate(net(), few, rounds=1, parties=2, lr=0.1)
    assert len(RUNS) == 20
    assert RUNS["run_23"] is latest


@pytest.mark.pictures
def test_charts_say_how_the_band_is_made(short_sweep: Any) -> None:
    made = short_sweep(lr=[0.01, 0.1], seeds="0-2", band="bootstrap")
    assert made.plot().figure.get_suptitle() == "mean with its 95 % interval by bootstrap"
    for against in ("bytes", "steps", "seconds"):
        assert "3 seeds" in made.plot(against).alt
    assert len([a for a in made.plot(kind="multiples").figure.axes if a.get_visible()]) == 2
    small = made.plot(kind="multiples").figure.axes
    assert all(place == int(place) for axis in small for place in axis.get_xticks()), "of rounds"
    bundle = made._repr_mimebundle_()
    assert "<img" in bundle["text/html"]
    assert "lr 0.1" in bundle["text/html"]


def test_rows_are_divided_once_for_each_split(
    net: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fusion_nb.runs.experiments import training
    from fusion_nb.runs.resolve import divide

    divided: list[int] = []

    def counted(spec: Any, *given: Any) -> Any:
        divided.append(spec.seed_for("split"))
        return divide(spec, *given)

    monkeypatch.setattr(training, "divide", counted)
    sweep(net(), rows, lr=[0.01, 0.1, 1], seeds="0-1", rounds=1, parties=2)
    assert divided == [0, 1]


def test_parties_of_one_run_leave_nothing_to_the_next(net: Any, rows: Any) -> None:
    made = sweep(net(), rows, fusion="scaffold", lr=[0.1, 0.1000001], rounds=2, parties=3)
    first, second = (np.asarray(trial.history["loss"]) for trial in made.runs)
    np.testing.assert_allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("options", [{"hold": "split"}, {"band": "std"}, {"workers": 2}])
def test_options_of_repeats_need_seeds(net: Any, rows: Any, options: Any) -> None:
    with pytest.raises(FusionError, match="goes with several seeds"):
        fusion_nb.federate(net(), rows, rounds=1, **options)


def test_a_kind_of_chart_that_does_not_exist_is_refused(short_sweep: Any) -> None:
    made = short_sweep()
    with pytest.raises(FusionError, match="kind="):
        made.plot(kind="lines")


def test_an_empty_component_has_a_name(short_sweep: Any) -> None:
    made = short_sweep(personal=["", "finetune"], rounds=1)
    assert [trial.point.label for trial in made.runs] == ["no personal", "finetune"]


def test_an_experiment_whose_runs_all_failed_is_still_shown(short_sweep: Any) -> None:
    @fusion_nb.fusion
    def breaks_later(weights: Any, updates: Any, *, calls: list[int] = []) -> Any:  # noqa: B006
        calls.append(len(list(updates)))
        if len(calls) > 1:
            raise ZeroDivisionError("later")
        return weights

    made = short_sweep(fusion=["breaks_later"])
    assert made.runs[0].status == "failed"
    assert len(made.runs[0].records) == 1
    assert "1 failed" in repr(made)
    assert "later" in made._repr_mimebundle_()["text/html"]
