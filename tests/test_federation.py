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


class TestRounds:
    def test_it_learns_and_every_record_is_whole(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=15).start().wait()
        assert [record.round for record in run.history] == list(range(1, 16))
        assert run.history["accuracy"][-1] > 0.9 > run.history["accuracy"][0]
        size = sum(p.numel() * 4 for p in net().parameters())
        assert all(record.bytes_up == record.bytes_down == 4 * size for record in run.history)
        assert set(run.history[-1].party_metrics["party 1"]) == {
            *("train_loss", "local_loss", "local_accuracy", "loss", "accuracy")
        }

    def test_one_party_is_plain_training(self, rows: Any, net: Any) -> None:
        federated = run_of(rows, net(), parties=1, rounds=3, epochs=2).start().wait()
        steps = run_of(rows, net(), parties=1, rounds=3, epochs=2, fusion="iter_avg").start().wait()
        assert federated.history["loss"] == steps.history["loss"]

    def test_same_seed_same_curve_and_another_seed_another(self, rows: Any, net: Any) -> None:
        dropout = nn.Sequential(*net(), nn.Dropout(0.3))
        curves = [
            run_of(rows, dropout, seed=s, fraction=0.5).start().wait().history["loss"]
            for s in (3, 3, 4)
        ]
        assert curves[0] == curves[1] != curves[2]

    def test_the_fused_model_is_the_weighted_mean_of_the_parties(self, rows: Any, net: Any) -> None:
        seen: list[Update] = []

        @fusion
        def spying(weights: Any, updates: Any) -> Any:
            seen.extend(updates)
            total = sum(update.num_examples for update in seen)
            return {
                name: sum(
                    u.weights[name].astype(np.float64) * (u.num_examples / total) for u in seen
                ).astype(np.float32)
                for name in weights
            }

        options = {"rounds": 1, "split": "quantity:alpha=1"}
        mine = run_of(rows, net(), fusion="spying", **options).start().wait()
        theirs = run_of(rows, net(), **options).start().wait()
        for name, tensor in theirs.model.state_dict().items():
            assert np.allclose(tensor, mine.model.state_dict()[name], atol=1e-7)
        assert len({update.num_examples for update in seen}) > 1

    def test_a_cohort_is_a_function_of_seed_and_round(self, rows: Any, net: Any) -> None:
        namespace = {"model": net(), "data": rows}
        first, again = (
            build(RunSpec(data="data", parties=20, fraction=0.25, seed=9), namespace)
            for _ in range(2)
        )
        cohorts = [first.cohort(round) for round in range(1, 9)]
        assert cohorts == [again.cohort(round) for round in range(1, 9)]
        assert {len(cohort) for cohort in cohorts} == {5}
        assert len(set(cohorts)) > 4
        order = [party.id for party in first.parties]
        assert all(list(cohort) == sorted(cohort, key=order.index) for cohort in cohorts)
        assert len(build(RunSpec(data="data", fraction=0.01), namespace).cohort(1)) == 1

    def test_the_central_test_set_is_what_counts(self, rows: Any, net: Any) -> None:
        x, y = rows
        run = run_of(((x[:200], y[:200]), (x[200:], y[200:])), net(), rounds=1).start().wait()
        with torch.no_grad():
            right = run.model(torch.tensor(x[200:])).argmax(1).numpy() == y[200:]
        assert run.history["accuracy"][-1] == pytest.approx(right.mean())

    def test_without_one_the_parties_rows_together_are(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=1, split="quantity:alpha=0.5").start().wait()
        tests = [(p.num_test, p.fused["loss"]) for p in run.parties]
        assert run.history["loss"][-1] == pytest.approx(
            np.average([m for _, m in tests], weights=[n for n, _ in tests])
        )

    def test_evaluation_every_few_rounds_and_always_at_the_end(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=5, evaluate_every=3)
        told: list[str] = []
        run.subscribe(lambda run: told.append(repr(run)))
        history = run.start().wait().history
        assert not any("nan" in line for line in told)
        assert np.isnan(history["accuracy"]).tolist() == [True, True, False, True, False]

    @pytest.mark.parametrize("test", [False, True])
    def test_evaluation_on_some_rows_and_on_all_at_the_end(
        self, rows: Any, net: Any, test: bool
    ) -> None:
        x, y = rows
        data = ({"a": (x[:40], y[:40]), "b": (x[40:], y[40:])}, (x[::3], y[::3])) if test else rows
        every, some = (
            run_of(data, net(), rounds=4, seed=1, evaluate_rows=n).start().wait() for n in (0, 5)
        )
        assert every.history["train_loss"] == some.history["train_loss"]
        assert every.history["loss"][:-1] != some.history["loss"][:-1]
        assert every.history["loss"][-1] == some.history["loss"][-1]
        assert every.records[-1].party_metrics == some.records[-1].party_metrics
        again = run_of(data, net(), rounds=4, seed=1, evaluate_rows=5).start().wait()
        assert again.history["loss"] == some.history["loss"]
        if test:  # of five rows
            assert all(round(5 * value, 6).is_integer() for value in some.history["accuracy"][:-1])

    def test_batch_norm_is_fused_sanely(self, rows: Any) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        run = run_of(rows, model, rounds=6, parties=5, split="dirichlet:alpha=1").start().wait()
        assert run.history["accuracy"][-1] > 0.8
        assert run.model.state_dict()["1.num_batches_tracked"].dtype == torch.int64
        assert int(run.model.state_dict()["1.num_batches_tracked"]) > 6

    def test_memory_does_not_grow_with_parties(self, rows: Any, net: Any) -> None:
        federation = build(RunSpec(data="data", parties=60), {"model": net(), "data": rows})
        alive, most = 0, 0

        class Counted(dict):  # type: ignore[type-arg]
            def __init__(self, *given: Any) -> None:
                nonlocal alive, most
                super().__init__(*given)
                alive += 1
                most = max(most, alive)

            def __del__(self) -> None:
                nonlocal alive
                alive -= 1

        federation._start()
        worker = federation.engine._engine._model
        original = worker.get_weights
        worker.get_weights = lambda: Counted(original())
        next(federation.rounds(1))
        assert (
            most <= 3 + 2 * num_cores()
        )  # those on their way from each core, however many parties there are

    def test_a_fusion_may_ask_what_the_model_cannot_honour(self, rows: Any, net: Any) -> None:
        @fusion
        class Proximal:
            local = {"warmth": 0.1}  # noqa: RUF012

            def init(self, weights: Any) -> None: ...

            def fuse(self, weights: Any, updates: Any, state: Any) -> Any: ...

        with pytest.raises(
            OptionError, match="asks every party for warmth, which a PyTorch model can't do"
        ):
            run_of(rows, net(), fusion="Proximal")


class Means(Model):
    """A model without a framework: it predicts each class's mean, after the parties agreed on a
    common scale."""

    metrics = ("loss",)

    def __init__(self) -> None:
        self.weights = {"means": np.zeros((3, 5))}
        self.scale = 1.0

    def clone(self) -> Means:
        return copy.deepcopy(self)

    def check(self, rows: Any, labels: np.ndarray, *, lr: float, optimizer: Any) -> list[str]:
        return []

    def get_weights(self) -> Any:
        return {name: array.copy() for name, array in self.weights.items()}

    def set_weights(self, weights: Any) -> None:
        self.weights = {name: array.copy() for name, array in weights.items()}

    def fit(self, data: Any, **orders: Any) -> Any:
        x, y = data
        self.weights = {
            "means": np.stack(
                [x[y == label].mean(0) / self.scale for label in range(3)], dtype=float
            )
        }
        return self.evaluate(data)

    def evaluate(self, data: Any) -> Any:
        x, y = data
        return {"loss": float(((x / self.scale - self.weights["means"][y]) ** 2).mean())}

    def native(self, weights: Any) -> Any:
        return weights["means"]

    def save(self, path: Path, weights: Any, format: str) -> None:
        raise NotADirectoryError

    def collect(self, data: Any) -> Any:
        return {"largest": float(np.abs(data[0]).max())}

    def agree(self, updates: list[Update]) -> float:
        return max(update.extras["largest"] for update in updates)

    def prepare(self, data: Any, state: dict[str, Any], agreed: float) -> None:
        self.scale = state["scale"] = agreed


def test_parties_agree_before_the_first_round(rows: Any) -> None:
    thirds = [slice(80 * i, 80 * (i + 1)) for i in range(3)]
    parties = [
        Party(f"p{i}", (rows[0][third], rows[1][third]), rows) for i, third in enumerate(thirds)
    ]
    federation = Federation(
        parties, Means(), stateless(mean_of_parties)(), LocalEngine(), orders={}
    )
    record = next(federation.rounds(1))
    largest = float(np.abs(rows[0]).max())
    assert [party.state["scale"] for party in parties] == [largest] * 3
    expected = np.stack([rows[0][rows[1] == label].mean(0) / largest for label in range(3)])
    assert np.allclose(federation.weights["means"], expected, atol=1e-3)
    assert record.metrics["loss"] < 1


def mean_of_parties(weights: Any, updates: Iterator[Update]) -> Any:
    return {"means": np.mean([update.weights["means"] for update in updates], axis=0)}


class TestFailures:
    def test_the_users_exception_keeps_its_type_and_traceback(self, rows: Any) -> None:
        def broken() -> None:
            raise ZeroDivisionError("in my model")

        run = run_of(rows, Faulty(10, broken), rounds=5)
        with pytest.raises(ZeroDivisionError, match="in my model") as caught:
            run.start().wait()
        assert any("broken" in frame.name for frame in caught.traceback)
        assert "last whole round is kept" in caught.value.__notes__[0]
        assert run.status == "failed"
        assert len(run.history) == 1
        assert run.model(torch.tensor(rows[0])).shape == (240, 3)

    def test_a_quorum_lets_a_round_go_on(self, rows: Any, net: Any) -> None:
        x, y = rows

        class Unreadable:
            targets, read = y[:30], 0

            def __len__(self) -> int:
                return 30

            def __getitem__(self, i: int) -> Any:
                self.read += 1
                if self.read > 5:  # as many as are looked at before training
                    raise OSError("the disk is gone")
                return x[i], y[i]

        parties = {"good": (x[:100], y[:100]), "fine": (x[100:], y[100:]), "broken": Unreadable()}
        run = run_of(parties, net(), rounds=2, quorum=0.6).start().wait()
        assert [failure.party for failure in run.failures] == ["broken"] * 2
        assert "the disk is gone" in run.failures[0].traceback
        assert run.history.to_frame()["parties"].tolist() == [2, 2]
        assert run.history[-1].bytes_up < run.history[-1].bytes_down
        with pytest.raises(OSError, match="the disk is gone"):
            run_of(parties | {"broken": Unreadable()}, net()).start().wait()

    def test_a_fused_model_that_diverges_is_not_kept(self, rows: Any, net: Any) -> None:
        x, y = rows
        far = (np.full((30, 5), 3e38, dtype=np.float32), y[:30])
        run = run_of({"good": (x, y), "far": far}, net(), quorum=0.5)
        with pytest.raises(DivergedError, match="in round"):
            run.start().wait()
        assert all(np.isfinite(array).all() for array in run._weights().values())

    def test_numbers_that_are_not_finite_name_party_and_round_and_keep_the_last_good_round(
        self, rows: Any, net: Any
    ) -> None:
        run = run_of(rows, net(), lr=1e25)
        with pytest.raises(DivergedError, match=r"party 1 became (nan|inf) in round 1") as caught:
            run.start().wait()
        assert "--lr" in caught.value.hint
        assert all(
            torch.equal(a, b)
            for a, b in zip(run.model.parameters(), net().parameters(), strict=True)
        )

    def test_a_failure_without_its_exception_is_told_by_its_line(self, rows: Any, net: Any) -> None:
        federation = build(RunSpec(data="data"), {"model": net(), "data": rows})
        federation._start()
        federation.engine.run = lambda *a, **k: iter([Failure("party 2", "OSError: away")])  # type: ignore[method-assign]
        with pytest.raises(PartyError, match="party 2: OSError: away"):
            next(federation.rounds(1))
        assert not federation.history

    def test_a_fusion_that_returns_nonsense_is_named(self, rows: Any, net: Any) -> None:
        @fusion
        def forgetful(weights: Any, updates: Any) -> Any:
            return {name: array for name, array in weights.items() if "bias" in name}

        with pytest.raises(PartyError, match="unusable weights in round 1"):
            run_of(rows, net(), fusion="forgetful").start().wait()


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


class TestHistory:
    def test_columns_frame_and_json(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=3).start().wait()
        frame = run.history.to_frame()
        assert frame.index.tolist() == [1, 2, 3]
        assert frame["loss"].tolist() == run.history["loss"]
        assert '"party_metrics"' in run.history.to_json()
        assert [
            record_of(json.loads(json.dumps(plain(record)))) for record in run.records
        ] == run.records
        assert isinstance(run.history[1:], History)
        assert run.history.party("party 2", "accuracy")[-1] == run.parties[1].fused["accuracy"]
        with pytest.raises(OptionError, match="did you mean 'accuracy'"):
            _ = run.history["acuracy"]

    def test_better_knows_the_direction_and_nan(self) -> None:
        assert better("accuracy", 0.9, 0.8)
        assert better("loss", 0.8, 0.9)
        assert better("loss", 0.8, float("nan"))
        assert not better("loss", float("nan"), 0.8)


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

    def test_history_is_a_copy(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=2).start().wait()
        run.history.clear()
        assert len(run.history) == 2

    def test_a_fusion_that_writes_into_what_it_gets_changes_no_earlier_round(
        self, rows: Any, net: Any
    ) -> None:
        @fusion
        def scribbling(weights: Any, updates: Any) -> Any:
            first = next(iter(updates)).weights
            for name, array in weights.items():
                array[...] = first[name]
            return weights

        seen: list[Any] = []
        run = run_of(rows, net(), fusion="scribbling", rounds=3)
        run.subscribe(lambda run: seen.append({n: a.copy() for n, a in run._weights().items()}))
        held = []
        run.subscribe(lambda run: held.append(run._weights()))
        run.start().wait()
        assert all(
            np.array_equal(kept[n], copied[n])
            for kept, copied in zip(held, seen, strict=True)
            for n in kept
        )

    def test_failures_of_a_round_that_was_given_up_are_kept(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), lr=1e25)
        with pytest.raises(DivergedError):
            run.start().wait()
        assert [failure.party for failure in run.failures] == ["party 1"]
        assert "DivergedError" in run.failures[0].traceback
        assert run.failures[0].exception is None
        assert "<summary>traceback</summary>" in run._repr_mimebundle_()["text/html"]

    def test_workers_are_let_go_and_come_back(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net(), rounds=1).start().wait()
        assert run._federation.engine._engine._model is None
        assert len(run.more(1).wait().history) == 2


@pytest.mark.parametrize("returned", [None, [1], "text", {"0.weight": 1}])
def test_what_a_fusion_may_not_return(rows: Any, net: Any, returned: Any) -> None:
    @fusion(name="returning")
    def wrong(weights: Any, updates: Any) -> Any:
        return returned

    with pytest.raises(PartyError, match="unusable weights in round 1"):
        run_of(rows, net(), fusion="returning", rounds=1).start().wait()


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


class TestWhatPartiesKeep:
    def test_an_optimizer_that_is_kept_goes_on_where_it_stopped(self, rows: Any, net: Any) -> None:
        options = {"parties": 1, "batch_size": 192, "optimizer": "adam", "lr": 0.01}
        one_long = run_of(rows, net(), rounds=1, epochs=4, **options).start().wait()
        kept = run_of(rows, net(), rounds=4, keep_optimizer=True, **options).start().wait()
        fresh = run_of(rows, net(), rounds=4, **options).start().wait()

        def last(run: Any) -> Any:
            return run.model.state_dict()["0.weight"]

        assert torch.allclose(last(one_long), last(kept), atol=1e-6)
        assert not torch.allclose(last(one_long), last(fresh), atol=1e-3)

    def test_a_party_that_fails_keeps_nothing_of_its_attempt(self, rows: Any) -> None:
        party = Party("one", rows, rows)
        model = Means()
        sent = {"weights": model.get_weights(), "seed": 0, "local": {}}
        model.fit = lambda data, state, **orders: (
            state.update(tries=state.get("tries", 0) + 1) or {"loss": 1.0}
        )  # type: ignore[method-assign]
        party.fit(model, round=1, **sent)
        model.evaluate = lambda data: {"loss": float("nan")}  # type: ignore[method-assign]
        with pytest.raises(DivergedError):
            party.fit(model, round=2, **sent)
        assert party.state == {"tries": 1}

    def test_a_round_that_is_given_up_starts_again_from_the_same_state(
        self, rows: Any, net: Any
    ) -> None:
        options = {"optimizer": "sgd:momentum=0.9", "keep_optimizer": True, "parties": 3}
        whole = build(RunSpec(data="data", **options), {"model": net(), "data": rows})
        broken = build(RunSpec(data="data", **options), {"model": net(), "data": rows})
        expected = [record.metrics for record in whole.rounds(3)]
        found = [record.metrics for record in broken.rounds(1)]
        last = broken.parties[-1]
        answer, last.answer = last.answer, lambda *verb, **orders: Failure(last.id, "is away")
        with pytest.raises(PartyError):
            list(broken.rounds(1))
        last.answer = answer
        assert found + [record.metrics for record in broken.rounds(2)] == expected
