"""The loop and its thread: cohorts, quorum, whole rounds, and every way to start, hold, stop and
continue."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusion_nb import Run, RunSpec, federate, fusion
from fusion_nb.algorithms.fusions.base import stateless
from fusion_nb.core.federation import Federation
from fusion_nb.core.history import History, better, plain, record_of
from fusion_nb.core.machine import num_cores
from fusion_nb.core.party import Party
from fusion_nb.core.types import Failure, RoundRecord, Update
from fusion_nb.engines.local import LocalEngine
from fusion_nb.errors import (
    DivergedError,
    FusionError,
    Interrupted,
    OptionError,
    PartyError,
    RunError,
)
from fusion_nb.models.base import Model
from fusion_nb.runs.build import build
from fusion_nb.runs.early_stopping import Patience, Until


def run_of(rows: Any, model: Any, **options: Any) -> Run:
    defaults: dict[str, Any] = {"lr": 0.1, "rounds": 4}
    return Run(RunSpec(data="data", **defaults | options), {"model": model, "data": rows})


class Faulty(nn.Module):
    """A network that does something once it has seen a number of batches, in whichever copy it
    lives."""

    seen = 0

    def __init__(self, after: int, fault: Callable[[], Any]) -> None:
        super().__init__()
        self.layer, self.after, self.fault = nn.Linear(5, 3), after, fault
        Faulty.seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            Faulty.seen += 1
            if Faulty.seen > self.after:
                self.fault()
        return self.layer(x)

    def __deepcopy__(self, memo: Any) -> Faulty:
        seen = Faulty.seen
        other = Faulty(self.after, self.fault)
        other.load_state_dict(self.state_dict())
        Faulty.seen = seen
        return other


@pytest.fixture
def held(rows: Any) -> Iterator[tuple[Run, threading.Event]]:
    """A run of 6 rounds that waits at its first batch until the event is set (the batch before that
    is the check's)."""
    gate = threading.Event()
    run = run_of(rows, Faulty(1, lambda: gate.wait(20)), rounds=6)
    yield run, gate
    gate.set()
    run.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited 20 s in vain"
        time.sleep(0.005)


class TestDriving:
    def test_start_returns_at_once_and_wait_waits(self, held: Any) -> None:
        run, gate = held
        assert run.status == "ready"
        run.start()
        assert run.status == "running"
        run.wait(timeout=0.1)
        assert run.status == "running"
        gate.set()
        assert run.wait().status == "finished"

    def test_stop_keeps_the_last_whole_round_and_more_goes_on(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=1000)
        run.subscribe(lambda run: run.stop(wait=False) if len(run.records) == 3 else None)
        run.start().wait()
        assert (run.status, len(run.history)) == ("stopped", 3)
        weights = run.best.weights
        assert weights is not None
        whole = run_of(rows, net(), rounds=5).start().wait()
        run._listeners.clear()
        run.more(2).wait()
        assert run.status == "finished"
        assert run.history["loss"] == whole.history["loss"]

    def test_pause_step_resume(self, held: Any) -> None:
        run, gate = held
        run.start()
        run.pause()
        gate.set()
        assert run.status == "paused"
        run.step()
        until(lambda: len(run.records) == 1 and run.status == "paused")
        assert run.model is not None
        run.resume().wait()
        assert (run.status, len(run.history)) == ("finished", 6)

    def test_a_paused_run_can_be_stopped(self, held: Any) -> None:
        run, gate = held
        run.start().pause()
        gate.set()
        assert run.stop().status == "stopped"
        assert len(run.history) == 0

    def test_what_is_to_stop_is_not_held_once_more(self, held: Any) -> None:
        run, gate = held
        run.start().stop(wait=False)
        with pytest.raises(RunError, match="about to stop"):
            run.pause()
        gate.set()
        assert run.wait(20).status == "stopped"

    def test_a_step_that_is_to_stop_does_not_hold_at_its_end(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=9)
        run._after_round = lambda after=run._after_round: (run.stop(wait=False), after())
        run.step(wait=False).wait(20)
        assert (run.status, len(run.records)) == ("stopped", 1)

    def test_stepping_from_the_start(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=3)
        run.step()
        until(lambda: run.status == "paused")
        assert len(run.records) == 1
        run.resume().wait()
        run.step().wait()
        assert len(run.history) == 4

    def test_more_while_running_adds_rounds(self, held: Any) -> None:
        run, gate = held
        run.start().more(2)
        gate.set()
        assert len(run.wait().history) == 8

    def test_what_makes_no_sense_is_refused(self, held: Any, rows: Any, net: Any) -> None:
        run, gate = held
        for nonsense in (run.pause, run.resume):
            with pytest.raises(RunError, match="ready"):
                nonsense()
        run.start()
        for nonsense in (run.start, run.step, run.resume):
            with pytest.raises(RunError, match="running"):
                nonsense()
        gate.set()
        run.wait()
        with pytest.raises(RunError, match="finished"):
            run.start()
        with pytest.raises(OptionError, match="rounds=0"):
            run.more(0)
        with pytest.raises(RunError, match="no whole round"):
            _ = run_of(rows, net()).best

    def test_an_interrupt_stops_cleanly_and_is_an_error(
        self, held: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, gate = held
        run.start()
        original, calls = run._join, []

        def interrupted(timeout: float | None, **options: Any) -> None:
            if not calls:
                calls.append(1)
                gate.set()
                until(lambda: len(run.records) >= 1)
                raise KeyboardInterrupt
            original(timeout, **options)

        monkeypatch.setattr(run, "_join", interrupted)
        with pytest.raises(Interrupted, match="was stopped after round"):
            run.wait()
        assert run.status in ("stopped", "finished")
        assert run.model is not None

    def test_a_later_cell_waits_for_the_run(self, held: Any) -> None:
        run, gate = held
        run.start()
        threading.Timer(0.2, gate.set).start()
        assert len(run.history) == 6

    def test_a_listener_that_fails_does_not_end_the_training(
        self, rows: Any, net: Any, capsys: Any
    ) -> None:
        run = run_of(rows, net())
        run.subscribe(lambda run: 1 / 0)
        assert run.start().wait().status == "finished"
        assert capsys.readouterr().err.count("ZeroDivisionError") == 1

    def test_the_model_stays_the_same_object_until_it_changes(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=1).start().wait()
        before = run.model
        assert run.model is before
        run.more(1).wait()
        assert run.model is not before

    def test_no_thread_is_left(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net()).start().wait()
        until(lambda: not run._thread.is_alive())


class TestEarlyStopping:
    def test_until(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=50, until="accuracy >= 0.9 and loss < 5").start().wait()
        assert len(run.history) < 50
        assert run.history["accuracy"][-1] >= 0.9 > run.history["accuracy"][-2]
        assert (run.status, run.reason) == (
            "finished",
            f"accuracy >= 0.9 and loss < 5 after round {len(run.history)}",
        )
        assert len(run.more(2).wait().history) > len(run.records) - 1

    @pytest.mark.parametrize(
        "text",
        ["accuracy", "accuracy = 1", "accuracy >= high", "__import__('os')", "a > 1 or b > 2"],
    )
    def test_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(OptionError, match="can't read"):
            Until(text)

    def test_patience(self) -> None:
        def history(*losses: float) -> History:
            return History(
                RoundRecord(i + 1, {"loss": v}, {}, (), 0, 0, 0) for i, v in enumerate(losses)
            )

        assert not Patience(2, "loss")(history(3, 2, 2.5))
        assert Patience(2, "loss")(history(3, 2, 2.5, 2.5)) == "no better loss for 2 rounds"
        assert not Patience(2, "loss")(history(3, 2, 2.5, 1))

    def test_best_is_the_best_rounds_model(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=6, monitor="train_loss", lr=0.5).start().wait()
        best = run.best
        assert best.value == min(run.history["train_loss"])
        again = run_of(rows, best.model, rounds=1, lr=1e-12, seed=0).start().wait()
        assert again.history["loss"][0] == pytest.approx(
            run.history["loss"][best.round - 1], rel=1e-4
        )


def test_federate_takes_objects_and_names(rows: Any, net: Any) -> None:
    assert federate(net(), rows, rounds=1).status == "finished"
    background = federate(
        nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
        "digits",
        background=True,
        rounds=2,
        name="b",
    )
    assert len(background.history) == 2
    with pytest.raises(FusionError, match="there is no option 'round'"):
        federate(net(), rows, round=1)


class TestUnderWay:
    """What two threads can do to a run at the same time."""

    def test_more_asked_for_while_listeners_are_told_is_not_lost(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=2)
        told, go_on = threading.Event(), threading.Event()

        def slow(run: Run) -> None:
            if run.status == "finished":
                told.set()
                go_on.wait(20)

        run.subscribe(slow)
        run.start()
        assert told.wait(20)
        run.unsubscribe(slow)
        threading.Timer(0.2, go_on.set).start()
        run.more(3).wait()
        assert (run.status, len(run.history)) == ("finished", 5)

    def test_more_after_a_stop_that_was_not_waited_for(self, held: Any) -> None:
        run, gate = held
        run.start()
        run.stop(wait=False)
        threading.Timer(0.2, gate.set).start()
        assert len(run.more(2).wait().history) == 2

    def test_a_step_that_was_stopped_leaves_nothing_behind(self, held: Any) -> None:
        run, gate = held
        run.step(wait=False)
        run.stop(wait=False)
        gate.set()
        assert len(run.more(3).wait(30).history) == 3
        run.step()
        assert (run.status, len(run.history)) == ("finished", 4)

    def test_stepping_again_and_again(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=3)
        assert [len(run.step().records) for _ in range(3)] == [1, 2, 3]
        assert run.status == "finished"

    def test_waiting_for_a_held_run_is_refused(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=3).step()
        with pytest.raises(RunError, match="is paused"):
            run.wait()
        assert run.resume().wait().status == "finished"

    def test_a_pause_is_no_part_of_a_rounds_time(self, held: Any) -> None:
        run, gate = held
        run.start().pause()
        gate.set()
        time.sleep(0.5)
        run.resume().wait()
        assert max(record.seconds for record in run.history) < 0.4

    def test_more_wants_a_whole_number(self, rows: Any, net: Any) -> None:
        for wrong in ("3", 2.5, 0):
            with pytest.raises(OptionError, match="whole number"):
                run_of(rows, net()).more(wrong)

    def test_the_spec_repeats_the_rounds_that_were_added(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=2, until="accuracy > 2").start().wait()
        assert run.spec.until
        run.more(3).wait()
        assert (run.spec.rounds, run.spec.until) == (5, "")
        again = Run(run.spec, {"model": net(), "data": rows}).start().wait()
        assert again.history["loss"] == run.history["loss"]

class TestOwnRandomness:
    def dropout(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))

    def test_what_the_user_draws_meanwhile_changes_nothing_either_way(self, rows: Any) -> None:
        alone = run_of(rows, self.dropout(), rounds=10).start().wait().history["loss"]
        torch.manual_seed(7)
        expected = torch.rand(2000)
        torch.manual_seed(7)
        run = run_of(rows, self.dropout(), rounds=10)
        torch.manual_seed(7)
        run.start()
        drawn = torch.cat([torch.rand(1) for _ in range(2000)])
        assert run.history["loss"] == alone
        assert torch.equal(drawn, expected)

    def test_two_runs_at_once_are_as_each_alone(self, rows: Any) -> None:
        alone = run_of(rows, self.dropout(), rounds=10).start().wait().history["loss"]
        both = [run_of(rows, self.dropout(), rounds=10).start() for _ in range(2)]
        assert [run.history["loss"] for run in both] == [alone, alone]

    def test_augmenting_data_repeats(self, rows: Any, net: Any) -> None:
        class Augmented:
            def __len__(self) -> int:
                return 60

            def __getitem__(self, i: int) -> Any:
                noise = torch.randn(5).numpy() + np.random.randn(5).astype(np.float32)
                return rows[0][i] + 0.1 * noise, rows[1][i]

        curves = [
            run_of(Augmented(), net(), rounds=2).start().wait().history["loss"] for _ in range(2)
        ]
        assert curves[0] == curves[1]
        run = run_of(Augmented(), net(), rounds=1)
        state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
        run.start().wait()
        assert torch.equal(torch.random.get_rng_state(), state)
        assert np.array_equal(np.random.get_state()[1], numpy_state)

    def test_lazy_layers_start_from_the_seed(self, rows: Any) -> None:
        def lazy() -> nn.Module:
            return nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))

        curves = [
            run_of(rows, lazy(), rounds=2, seed=seed).start().wait().history["loss"]
            for seed in (0, 0, 1)
        ]
        assert curves[0] == curves[1]
        first = [run_of(rows, lazy(), seed=seed)._federation.initial["0.weight"] for seed in (0, 1)]
        assert not np.array_equal(*first)


class TestMoreUnderWay:
    def test_two_threads_that_ask_for_more_get_one_training(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=2)
        ending, askers = threading.Event(), []

        def slow(run: Run) -> None:
            if run.status == "finished" and not ending.is_set():
                ending.set()
                time.sleep(0.3)

        run.subscribe(slow)
        run.start()
        assert ending.wait(20)
        askers = [threading.Thread(target=run.more, args=(5,)) for _ in range(2)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        run.wait()
        assert [record.round for record in run.history] == list(range(1, len(run.history) + 1))
        assert len(run.history) == 12

    def test_more_asked_for_as_early_stopping_fires_counts(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=3, until="loss < 100")
        run.subscribe(lambda run: run.more(2) if run.reason and len(run.records) == 1 else None)
        assert len(run.start().wait().history) == 5

    def test_the_spec_drops_early_stopping_once_it_was_overridden(
        self, rows: Any, net: Any
    ) -> None:
        run = run_of(rows, net(), rounds=10, until="loss < 100").start().wait()
        assert (len(run.history), run.spec.until) == (1, "loss < 100")
        run.more(9).wait()
        assert (run.spec.rounds, run.spec.until) == (10, "")
        stepped = run_of(rows, net(), rounds=10, until="loss < 100").start().wait().step()
        assert (len(stepped.history), stepped.spec.until, stepped.status) == (2, "", "paused")
        stepped.stop()

    def test_a_run_that_is_held_while_it_is_waited_for_says_so(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=50)
        run.subscribe(
            lambda run: run.pause() if len(run.records) == 2 and run.status == "running" else None
        )
        with pytest.raises(RunError, match="is paused"):
            run.start().wait()
        run.stop()

    def test_a_run_under_way_is_not_forgotten(self, held: Any, rows: Any, net: Any) -> None:
        from fusion_nb.runs.session import remember

        run, gate = held
        remember(run)
        run.start()
        with pytest.raises(OptionError, match="still running"):
            federate(net(), rows, rounds=1, name=run.name)
        gate.set()
        run.wait()
        assert federate(net(), rows, rounds=1, name=run.name, loss=None).status == "finished"


class TestRandomOperations:
    def test_every_way_to_draw_repeats_and_leaves_the_users_numbers(self) -> None:
        from fusion_nb.models.torch.randomness import OwnRandomness

        draws: list[Callable[[], torch.Tensor]] = [
            *(lambda: torch.rand(3), lambda: torch.randn(3), lambda: torch.randint(9, (3,))),
            *(
                lambda: torch.randint(2, 9, (3,)),
                lambda: torch.randperm(9),
                lambda: torch.rand_like(torch.ones(3)),
            ),
            *(
                lambda: torch.randn_like(torch.ones(3)),
                lambda: torch.randint_like(torch.ones(3), 9),
            ),
            *(
                lambda: torch.randint_like(torch.ones(3), 2, 9),
                lambda: torch.normal(0.0, 1.0, (3,)),
            ),
            *(
                lambda: torch.normal(torch.zeros(3), 1.0),
                lambda: torch.bernoulli(torch.full((9,), 0.5)),
            ),
            *(lambda: torch.multinomial(torch.ones(9), 4), lambda: torch.empty(3).uniform_()),
            *(lambda: torch.empty(3).exponential_(), lambda: torch.poisson(torch.full((9,), 5.0))),
            *(
                lambda: torch.distributions.Gamma(2.0, 1.0).sample((3,)),
                lambda: nn.functional.dropout(torch.ones(64)),
            ),
        ]
        state = torch.random.get_rng_state()
        for draw in draws:
            found = []
            for seed in (1, 1, 2):
                with OwnRandomness(seed) as randomness:
                    found.append(torch.cat([draw().float().flatten() for _ in range(4)]))
                assert randomness.drew
            assert torch.equal(found[0], found[1])
            assert not torch.equal(found[0], found[2])
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_reading_a_dataset_takes_no_numbers_from_the_user(self, rows: Any, net: Any) -> None:
        class Items:
            def __len__(self) -> int:
                return 60

            def __getitem__(self, i: int) -> Any:
                return rows[0][i] + np.random.rand(5).astype(np.float32), rows[1][i]

        run = run_of(Items(), net(), rounds=30)
        np.random.seed(1)
        expected = np.random.rand(300)
        np.random.seed(1)
        run.start().wait()
        assert np.random.rand(300).tolist() == expected.tolist()
