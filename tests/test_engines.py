"""Where parties run: side by side, as one, in other processes; the curve is the same, and nothing
is left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from fusion_nb import RunSpec
from fusion_nb.core import machine
from fusion_nb.core.thread_pool import Workers
from fusion_nb.engines.vectorized import VectorizedEngine
from fusion_nb.errors import OptionError
from fusion_nb.models.torch.adapter import TorchModel
from fusion_nb.runs.build import build, chosen_engine
from fusion_nb.runs.run import Run

UNEVEN = "dirichlet:alpha=1"


def curve(
    engine: str, rows: Any, model: Any, rounds: int = 3, **options: Any
) -> list[dict[str, Any]]:
    """Return all that is measured, of parties too."""
    run = finished(engine, rows, model, rounds=rounds, **options)
    return [{**r.metrics, **{p: dict(m) for p, m in r.party_metrics.items()}} for r in run.records]


def finished(engine: str, rows: Any, model: Any, **options: Any) -> Run:
    given = {"parties": 5, "lr": 0.1, "batch_size": 8, "split": UNEVEN, "rounds": 3, **options}
    return (
        Run(RunSpec(data="data", engine=engine, **given), {"model": model, "data": rows})
        .start()
        .wait()
    )


def flat(found: Any) -> list[float]:
    """Return all numbers of a curve."""
    if isinstance(found, dict):
        return [number for name in sorted(found) for number in flat(found[name])]
    return (
        [number for each in found for number in flat(each)] if isinstance(found, list) else [found]
    )


class Drops(nn.Module):
    """Dropout by module and by function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 16), nn.Linear(16, 3)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(F.dropout(self.drop(self.first(x).relu()), 0.2, self.training))


class Normed(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


class Viewing(nn.Module):
    """A network as people write it, whose forward is no chain of modules."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.fc1(x.view(x.size(0), -1)))
        return F.log_softmax(self.fc2(x), dim=1)


def look_at_thread_settings() -> None:
    torch.set_num_threads(2)
    seen: list[int] = []

    class Looking(Viewing):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_num_threads())
            return super().forward(x)

    x = np.random.default_rng(0).normal(size=(240, 5)).astype(np.float32)
    finished("local", (x, np.arange(240) % 3), Looking())
    assert torch.get_num_threads() == 2
    there: list[int] = []
    thread = threading.Thread(target=lambda: there.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert there == [2], "new threads get the setting too"
    assert 1 in seen


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return make()


class TestSideBySide:
    @pytest.mark.parametrize("make", [Drops, Normed, Viewing])
    def test_the_number_of_workers_changes_nothing(
        self, rows: Any, make: Callable[[], nn.Module]
    ) -> None:
        options = {
            "optimizer": "adam",
            "baseline": "local",
            "fusion": "scaffold" if make is Viewing else "fedavg",
        }
        options |= {"optimizer": "sgd"} if make is Viewing else {}
        alone = curve("local:workers=1", rows, seeded(make), **options)
        for workers in (2, 3):
            assert curve(f"local:workers={workers}", rows, seeded(make), **options) == alone

    def test_nor_does_it_for_a_data_set_that_draws(self, rows: Any) -> None:
        class Noisy(TensorDataset):
            def __getitem__(self, index: int) -> Any:
                x, y = super().__getitem__(index)
                return x + float(np.random.normal()) * 0.1, y

        noisy = Noisy(torch.from_numpy(rows[0]), torch.from_numpy(rows[1]))
        one, three = (curve(f"local:workers={n}", noisy, seeded(Viewing), rounds=2) for n in (1, 3))
        assert one == three

    def test_the_users_random_numbers_stay_their_own(self, rows: Any) -> None:
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        curve("local:workers=3", rows, seeded(Drops))
        assert torch.equal(torch.rand(3), expected)

    def test_thread_settings_are_given_back(self) -> None:
        # In a process of its own: a run that another test has left held would rightly keep the
        # setting.
        script = "import test_engines; test_engines.look_at_thread_settings()"
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=120)

    def test_no_thread_is_left(self, rows: Any) -> None:
        gc.collect()  # engines of other tests
        before = set(threading.enumerate())
        finished("local:workers=3", rows, seeded(Viewing))
        assert set(threading.enumerate()) <= before

    def test_nor_by_an_engine_that_is_dropped_unclosed(self, rows: Any) -> None:
        gc.collect()
        before = set(threading.enumerate())
        federation = build(
            RunSpec(data="data", parties=4, lr=0.1), {"model": Viewing(), "data": rows}
        )
        next(federation.rounds(1))
        assert set(threading.enumerate()) > before
        del federation
        gc.collect()
        assert set(threading.enumerate()) <= before

    def test_a_stop_ends_all_workers_within_a_batch(self, rows: Any) -> None:
        class Slow(Viewing):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                time.sleep(0.02 if self.training else 0)
                return super().forward(x)

        namespace = {"model": Slow(), "data": rows}
        spec = RunSpec(data="data", parties=4, lr=0.1, epochs=1000, engine="local:workers=2")
        run = Run(spec, namespace).start()
        time.sleep(0.5)
        run.pause()
        time.sleep(0.1)
        run.resume()
        started = time.perf_counter()
        run.stop()
        assert time.perf_counter() - started < 1
        assert run.status == "stopped"

    def test_a_kernel_ends_while_a_run_is_held(self, tmp_path: Path) -> None:
        held = SCRIPT.replace("run.wait()", "time.sleep(0.5)\nrun.pause()\ntime.sleep(0.5)")
        (tmp_path / "mine.py").write_text(held)
        (tmp_path / "slow").touch()
        line = [sys.executable, "mine.py", "local:workers=2", "1000"]
        assert subprocess.run(
            line, cwd=tmp_path, timeout=60, check=True, capture_output=True
        ).stdout

    def test_a_failure_gives_the_rest_of_a_round_up(self, rows: Any) -> None:
        started: list[int] = []

        class Breaking(Viewing):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if self.training and len(x) > 0:
                    started.append(1)
                    if len(started) > 40:
                        raise ZeroDivisionError("a bug of the user's")
                return super().forward(x)

        with pytest.raises(ZeroDivisionError):
            finished("local:workers=2", rows, Breaking(), parties=20, rounds=50)

    def test_a_pause_is_timed_once_however_many_are_held(self) -> None:
        from fusion_nb.core.pause_clock import Held

        held = Held()
        before = held.clock()
        with held, held:
            time.sleep(0.05)
        assert held.clock() - before < 0.04


class TestWorkers:
    def test_answers_come_in_order_and_only_so_many_ahead(self) -> None:
        done: list[int] = []

        def task(_: Any, item: int) -> int:
            time.sleep(0.001 * (item % 3))
            done.append(item)
            return item

        workers = Workers([None, None], lambda: None, machine.Shared(lambda: lambda: None))
        answers = workers.map(task, range(100))
        assert next(answers) == 0
        time.sleep(0.05)
        assert len(done) <= 6
        assert list(answers) == list(range(1, 100))
        workers.close()

    def test_what_a_task_raises_is_raised_and_the_next_map_works(self) -> None:
        def task(_: Any, item: int) -> float:
            return 1 / item

        workers = Workers([None, None], lambda: None, machine.Shared(lambda: lambda: None))
        with pytest.raises(ZeroDivisionError):
            list(workers.map(task, [1, 0, 2, 3, 4, 5]))
        assert list(workers.map(task, [1, 2])) == [1, 0.5]
        workers.close()


class TestSharedSettings:
    def test_the_first_makes_it_and_the_last_undoes_it(self) -> None:
        told: list[str] = []

        def make() -> Callable[[], None]:
            told.append("made")
            return lambda: told.append("undone")

        shared = machine.Shared(make)
        with shared():
            with shared():
                pass
            assert told == ["made"]
        assert told == ["made", "undone"]

    def test_memory_can_be_kept(self, rows: Any) -> None:
        assert curve("local:keep_memory=true", rows, seeded(Viewing)) == curve(
            "local", rows, seeded(Viewing)
        )
        run = finished("local:keep_memory=true", rows, seeded(Viewing))
        assert "memory: what is freed stays with the process" in run.summary()
        assert "keep_memory" in run.spec.to_yaml()


class TestPrecision:
    def test_bf16_trains_and_its_weights_stay_float32(self, rows: Any) -> None:
        run = finished("local", rows, seeded(Viewing), precision="bf16", rounds=8)
        exact = finished("local", rows, seeded(Viewing), rounds=8)
        assert run.records[-1].metrics["accuracy"] > 0.85
        assert run.records[-1].metrics != exact.records[-1].metrics
        assert {array.dtype for array in run.model.state_dict().values()} == {torch.float32}
        assert any("precision: bf16" in note for note in run.notes)
        assert "bf16" in run.spec.to_cell()

    def test_images_lie_as_its_convolutions_want_them(self) -> None:
        rng = np.random.default_rng(0)
        images = rng.random((60, 1, 8, 8), dtype=np.float32), np.arange(60) % 3
        module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
        run = finished("local", images, module, precision="bf16", split="iid", parties=2)
        assert run.model.state_dict()["0.weight"].shape == (4, 1, 3, 3)
        assert run.model.state_dict()["0.weight"].is_contiguous()

    def test_what_it_does_not_go_with_is_told_before_training(self, rows: Any) -> None:
        with pytest.raises(OptionError, match="--precision bf16 with a model that is not float32"):
            finished("local", rows, Viewing().double(), precision="bf16")
        with pytest.raises(OptionError, match="did you mean 'bf16'"):
            finished("local", rows, Viewing(), precision="bf61")


class TestEvaluation:
    def test_several_cores_measure_what_one_does(self) -> None:
        rng = np.random.default_rng(0)
        rows = rng.random((3000, 5), dtype=np.float32), np.arange(3000) % 3
        model = TorchModel(seeded(Normed))
        model.check(rows, rows[1], lr=0.1, optimizer="sgd")
        model.num_cores = 1
        alone = model.evaluate(rows)
        model.num_cores = 3
        assert model.evaluate(rows) == alone

    def test_a_model_that_draws_when_it_is_evaluated_repeats(self) -> None:
        class Draws(Viewing):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return super().forward(F.dropout(x, 0.5, training=True))

        rng = np.random.default_rng(0)
        rows = rng.random((3000, 5), dtype=np.float32), np.arange(3000) % 3
        model = TorchModel(seeded(Draws))
        model.check(rows, rows[1], lr=0.1, optimizer="sgd")
        assert model.evaluate(rows) == model.evaluate(rows)


def images(count: int = 90) -> Any:
    rng = np.random.default_rng(0)
    y = np.arange(count) % 3
    x = rng.normal(size=(count, 1, 6, 6)) + np.eye(3, 36)[y].reshape(count, 1, 6, 6) * 3
    return x.astype(np.float32), y


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    )


class TestVectorized:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"epochs": 3},
            {"local_steps": 7},
            {"batch_size": 1000},
            {"optimizer": "sgd:momentum=0.9,nesterov=true"},
            {"optimizer": "adam", "lr": 0.01},
            {"optimizer": "adadelta", "lr": 1.0},
            {"optimizer": "adamw:weight_decay=0.1", "lr": 0.01},
            {"fusion": "fedprox:mu=0.5"},
            {"fusion": "scaffold"},
            {"fusion": "feddyn:alpha=0.1"},
            {"personal": "ditto"},
            {"personal": "apfl"},
            {"personal": "fedper:layers=2.*"},
            {"straggler": "0.5:epochs=uniform", "fusion": "fedprox:mu=0.1", "epochs": 4},
            {"dropout": 0.3},
            {"baseline": "central,local"},
        ],
        ids=str,
    )
    def test_gives_the_curve_but_for_rounding(
        self, rows: Any, net: Any, options: dict[str, Any]
    ) -> None:
        apart = flat(curve("local", rows, net(), **options))
        together = flat(curve("vectorized:stack=3", rows, net(), **options))
        assert together == pytest.approx(apart, rel=2e-3, abs=1e-4, nan_ok=True)

    @pytest.mark.parametrize(
        ("make", "data"),
        [
            (Viewing, None),
            (
                lambda: nn.Sequential(
                    nn.Linear(5, 8, bias=False), nn.Tanh(), nn.Linear(8, 3), nn.LogSoftmax(1)
                ),
                None,
            ),
            (lambda: nn.Sequential(nn.Linear(5, 3)), None),
            (
                lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.ELU(), nn.Linear(8, 3)),
                None,
            ),
            (
                lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax(1)),
                None,
            ),
            (convolutional, images()),
            (lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 1)), "numbers"),
            (lambda: nn.Sequential(nn.Linear(5, 8), nn.Sigmoid(), nn.Linear(8, 1)), "binary"),
            (lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double(), None),
        ],
    )
    def test_any_module_and_loss(self, rows: Any, make: Callable[[], nn.Module], data: Any) -> None:
        given = rows if data is None or isinstance(data, str) else data
        split = UNEVEN
        if data == "numbers":
            given, split = (rows[0], rows[0].sum(1)), "quantity:alpha=1"
        elif data == "binary":
            given = rows[0], (rows[1] > 0).astype(np.int64)
        options = {"lr": 0.02, "split": split, "parties": 4}
        apart = flat(curve("local", given, seeded(make), **options))
        together = flat(curve("vectorized", given, seeded(make), **options))
        assert together == pytest.approx(apart, rel=2e-3, abs=1e-4)

    def test_frozen_layers_stay(self, rows: Any, net: Any) -> None:
        model = net()
        model[0].requires_grad_(False)
        run = finished("vectorized", rows, model)
        assert torch.equal(run.model.state_dict()["0.weight"], model[0].weight)
        apart = finished("local", rows, model)
        assert torch.allclose(
            run.model.state_dict()["2.weight"], apart.model.state_dict()["2.weight"], atol=1e-5
        )

    def test_the_last_of_a_cohort_is_not_left_alone(self, rows: Any, net: Any) -> None:
        sizes: list[int] = []

        class Counting(TorchModel):
            def fit_together(self, trainings: Any) -> Any:
                sizes.append(len(trainings))
                return super().fit_together(trainings)

        federation = build(RunSpec(data="data", parties=9, lr=0.1), {"model": net(), "data": rows})
        model = Counting(net())
        model.check(rows, rows[1], lr=0.1, optimizer="sgd")
        federation.model, federation.engine = model, VectorizedEngine(stack=8, workers=1)
        next(federation.rounds(1))
        federation.close()
        assert sorted(sizes) == [4, 5]

    @pytest.mark.parametrize(
        ("make", "options", "reason"),
        [
            (Drops, {}, "it draws random numbers, as dropout does"),
            (Normed, {}, "batch normalization"),
            (Viewing, {"keep_optimizer": True}, "parties keep their optimizers"),
            (Viewing, {"precision": "bf16"}, "it computes in bf16"),
            (Viewing, {"optimizer": "adafactor"}, "looks at a whole model"),
        ],
    )
    def test_what_can_not_be_stacked_is_told_before_training(
        self, rows: Any, make: Callable[[], nn.Module], options: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(OptionError, match=reason) as caught:
            build(
                RunSpec(data="data", engine="vectorized", lr=0.1, **options),
                {"model": make(), "data": rows},
            )
        assert "--engine local" in caught.value.hint

    def test_a_module_that_mixes_its_rows_is_found_out_by_its_numbers(self, rows: Any) -> None:
        class Mixing(Viewing):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return super().forward(x - x.mean(0))

        with pytest.raises(OptionError, match="other numbers"):
            build(
                RunSpec(data="data", engine="vectorized", batch_size=100),
                {"model": Mixing(), "data": rows},
            )

    def test_a_party_that_diverges_fails_alone(self, rows: Any, net: Any) -> None:
        x = rows[0].copy()
        x[:3] = 1e30
        spec = RunSpec(
            data="data", parties=4, lr=0.1, engine="vectorized", quorum=0.5, split="shards"
        )
        run = Run(spec, {"model": net(), "data": (x, rows[1])}).start().wait()
        assert run.failures
        assert all(len(record.failures) < 4 for record in run.records)


class TestAuto:
    def test_says_what_it_chose_and_why(self, rows: Any, net: Any) -> None:
        run = finished("auto", rows, net())
        assert any(note.startswith("engine: ") for note in run.notes)
        run = finished("auto", rows, seeded(Drops))
        assert "engine: local (it draws random numbers, as dropout does)" in run.notes

    def test_takes_turns_where_that_is_not_slower(
        self, rows: Any, net: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for gain, name in ((1.1, "local"), (3.0, "vectorized")):
            monkeypatch.setattr("fusion_nb.engines.auto.trial", lambda *_, gain=gain: gain)
            federation = build(
                RunSpec(data="data", engine="auto", parties=3), {"model": net(), "data": rows}
            )
            chosen = federation.engine.innermost._chosen
            assert type(chosen).__name__.lower().startswith(name)


SCRIPT = """
import os, sys, time
import numpy as np
import torch
from torch import nn
from fusion_nb import Run, RunSpec

class Mine(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 3)
    def forward(self, x):
        if self.training and os.path.exists("slow"):
            time.sleep(0.05)
        return self.layer(x)

torch.manual_seed(0)
rows = np.random.default_rng(0).normal(size=(240, 5)).astype("float32"), np.arange(240) % 3
spec = RunSpec(data="rows", engine=sys.argv[1], parties=4, rounds=int(sys.argv[2]), lr=0.1)
run = Run(spec, {"model": Mine(), "rows": rows}).start()
print("started", flush=True)
run.wait()
print([record.metrics for record in run.records], flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="the process engine needs Linux or macOS")
class TestOnAGPU:
    """What can be told without one: which engine is chosen there."""

    @pytest.mark.parametrize(
        ("kind", "width", "given", "wanted"),
        [
            ("cuda", 5, {}, "auto"),
            ("cpu", 5, {}, "local"),
            ("cuda", 300_000, {}, "local"),
            ("cuda", 5, {"engine": "local"}, "local"),
            ("cuda", 5, {"engine": "process"}, "process"),
        ],
    )
    def test_small_models_are_tried_as_one(
        self, net: Any, kind: str, width: int, given: dict[str, str], wanted: str
    ) -> None:
        model = TorchModel(net(width))
        model.device = torch.device(kind)
        assert chosen_engine(RunSpec(**given), model) == wanted


class TestProcesses:
    @pytest.mark.parametrize(
        "options",
        [
            pytest.param({}, marks=pytest.mark.slow),
            pytest.param({"fusion": "scaffold"}, marks=pytest.mark.slow),
            {"personal": "ditto", "fraction": 0.5},
        ],
        ids=str,
    )
    def test_gives_the_very_curve(self, rows: Any, net: Any, options: dict[str, Any]) -> None:
        assert curve("process", rows, net(), **options) == curve("local", rows, net(), **options)

    @pytest.mark.slow
    def test_goes_on_with_what_parties_kept(self, rows: Any, net: Any) -> None:
        whole = finished("local", rows, net(), rounds=4, fusion="scaffold")
        run = finished("process:workers=2", rows, net(), rounds=2, fusion="scaffold")
        run.more(2).wait()
        assert [r.metrics for r in run.records] == [r.metrics for r in whole.records]

    def test_a_model_that_a_script_defines_is_sent_along(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(SCRIPT)
        printed = [
            subprocess.run(
                [sys.executable, "mine.py", engine, "3"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for engine in ("process", "local")
        ]
        assert printed[0] == printed[1]

    def test_no_worker_outlives_a_kernel_that_is_killed(self, tmp_path: Path) -> None:
        import psutil

        (tmp_path / "mine.py").write_text(SCRIPT)
        (tmp_path / "slow").touch()
        kernel = subprocess.Popen(
            [sys.executable, "mine.py", "process", "1000"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert kernel.stdout is not None
        kernel.stdout.readline()
        wait_until(lambda: len(psutil.Process(kernel.pid).children()) >= 1)
        time.sleep(3)
        workers = psutil.Process(kernel.pid).children()
        os.kill(kernel.pid, signal.SIGKILL)
        kernel.wait()
        wait_until(
            lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers)
        )
        kernel.stdout.close()

    def test_a_worker_that_dies_is_a_failure_of_its_party(self, rows: Any, tmp_path: Path) -> None:
        marker, kernel = str(tmp_path / "died"), os.getpid()

        class Dying(Viewing):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if self.training and os.getpid() != kernel and not os.path.exists(marker):
                    open(marker, "w").close()
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().forward(x)

        run = finished("process", rows, Dying(), quorum=0.5, rounds=2)
        assert len(run.records) == 2
        failures = [failure for record in run.records for failure in record.failures]
        assert len(failures) == 1
        assert failures[0].error == "its worker process ended (exit code -9)"

    def test_a_stop_reaches_the_middle_of_a_training(self, rows: Any) -> None:
        class Slow(Viewing):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                time.sleep(0.02 if self.training else 0)
                return super().forward(x)

        spec = RunSpec(data="data", parties=4, lr=0.1, epochs=100_000, engine="process")
        run = Run(spec, {"model": Slow(), "data": rows}).start()
        time.sleep(6)
        run.pause()
        time.sleep(0.3)
        assert run.status == "paused"
        run.resume()
        started = time.perf_counter()
        run.stop()
        assert time.perf_counter() - started < 1.5
        assert run.status == "stopped"

    def test_a_model_that_can_not_be_sent_is_told_before_training(self, rows: Any) -> None:
        model = Viewing()
        model.lock = threading.Lock()
        type(model).__deepcopy__ = lambda self, memo: self
        try:
            with pytest.raises(OptionError, match="can't be sent to another process"):
                build(RunSpec(data="data", engine="process"), {"model": model, "data": rows})
        finally:
            del type(model).__deepcopy__


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)
