"""The in-kernel engine: workers, threads, settings of the process, pause and stop."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_runs import SCRIPT, Drops, Normed, Viewing, curve, finished, seeded
from torch import nn
from torch.utils.data import TensorDataset

from fusion_nb import RunSpec
from fusion_nb.core.party import Party
from fusion_nb.core.process.machine import RefCountedSetting
from fusion_nb.core.types import EvaluateRequest, RoundRequest
from fusion_nb.runs.build import build
from fusion_nb.runs.run import Run


class TestCurve:
    @pytest.mark.parametrize("make", [Drops, Normed, Viewing])
    def test_the_number_of_workers_changes_nothing(
        self, rows: Any, make: Callable[[], nn.Module]
    ) -> None:
        options = {"optimizer": "adam", "baseline": "local", "fusion": "fedavg"}
        if make is Viewing:
            options |= {"optimizer": "sgd", "fusion": "scaffold"}
        alone = curve("local:workers=1", rows, seeded(make), **options)
        for workers in (2, 3):
            assert curve(f"local:workers={workers}", rows, seeded(make), **options) == alone

    def test_the_number_of_workers_changes_nothing_for_data_that_draws(self, rows: Any) -> None:
        class Noisy(TensorDataset):
            def __getitem__(self, index: int) -> Any:
                x, y = super().__getitem__(index)
                return x + float(np.random.normal()) * 0.1, y

        noisy = Noisy(torch.from_numpy(rows[0]), torch.from_numpy(rows[1]))
        one, three = (curve(f"local:workers={n}", noisy, seeded(Viewing), rounds=2) for n in (1, 3))
        assert one == three

    def test_kept_memory_changes_nothing(self, rows: Any) -> None:
        assert curve("local:keep_memory=true", rows, seeded(Viewing)) == curve(
            "local", rows, seeded(Viewing)
        )
        run = finished("local:keep_memory=true", rows, seeded(Viewing))
        assert "memory: what is freed stays with the process" in run.summary()
        assert "keep_memory" in run.spec.to_yaml()

    @pytest.mark.parametrize(
        ("engine", "held"),
        {"local": "reused", "local:keep_memory=true": "kept", "vectorized": "reused"}.items(),
    )
    def test_freed_memory_is_given_back_when_the_run_has_ended(
        self, rows: Any, monkeypatch: pytest.MonkeyPatch, engine: str, held: str
    ) -> None:
        events: list[str] = []

        def make(name: str) -> Callable[[], None]:
            events.append(name)
            return lambda: events.append("given back")

        for name in ("reused", "kept"):
            setting = RefCountedSetting(partial(make, name))
            monkeypatch.setattr(f"fusion_nb.engines.local.{name}_memory", setting)
        finished(engine, rows, seeded(Viewing), rounds=1)
        assert events == [held, "given back"]

    def test_the_users_random_numbers_stay_their_own(self, rows: Any) -> None:
        torch.manual_seed(5)
        expected = torch.rand(3)
        torch.manual_seed(5)
        curve("local:workers=3", rows, seeded(Drops))
        assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("width", "in_threads"),
    [(4, set()), (4_000, {RoundRequest}), (40_000, {RoundRequest, EvaluateRequest})],
)
def test_parties_work_side_by_side_where_a_forward_pass_is_worth_it(
    rows: Any, monkeypatch: pytest.MonkeyPatch, width: int, in_threads: set[type]
) -> None:
    seen: set[tuple[type, bool]] = set()
    answer = Party.answer

    def noted(party: Party, request: Any, model: Any) -> Any:
        seen.add((type(request), threading.current_thread().name.startswith("fusion_nb worker")))
        return answer(party, request, model)

    monkeypatch.setattr(Party, "answer", noted)
    monkeypatch.setattr("fusion_nb.engines.local.num_cores", lambda: 2)

    def wide() -> nn.Module:
        inputs = int(np.prod(rows[0].shape[1:]))
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width), nn.Linear(width, 3))

    finished("local", rows, seeded(wide), rounds=1, batch_size=64, holdout=0.9)
    kinds = (RoundRequest, EvaluateRequest)
    assert seen == {(kind, kind in in_threads) for kind in kinds}


class TestNothingIsLeft:
    @pytest.mark.slow
    def test_thread_settings_are_restored(self) -> None:
        # In a process of its own: a run that another test has left paused keeps the setting.
        script = "import engine_runs; engine_runs.check_thread_settings()"
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])
        }
        subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=240)

    def test_no_thread_of_a_finished_run(self, rows: Any) -> None:
        gc.collect()  # engines of other tests
        before = set(threading.enumerate())
        finished("local:workers=3", rows, seeded(Viewing))
        assert set(threading.enumerate()) <= before

    def test_no_thread_of_an_engine_that_is_dropped_unclosed(self, rows: Any) -> None:
        gc.collect()
        before = set(threading.enumerate())
        federation = build(
            RunSpec(data="data", parties=4, lr=0.1, engine="local:workers=2"),
            {"model": Viewing(), "data": rows},
        )
        next(federation.rounds(1))
        assert set(threading.enumerate()) > before
        del federation
        gc.collect()
        assert set(threading.enumerate()) <= before

    def test_a_kernel_ends_while_a_run_is_paused(self, tmp_path: Path) -> None:
        paused = SCRIPT.replace(
            "run.wait()",
            "while not os.path.exists('trains'): time.sleep(0.01)\nrun.pause()",
        )
        (tmp_path / "mine.py").write_text(paused)
        line = [sys.executable, "mine.py", "local:workers=2", "100000"]
        assert subprocess.run(
            line, cwd=tmp_path, timeout=240, check=True, capture_output=True
        ).stdout


class TestStop:
    def test_it_reaches_all_workers_in_the_middle_of_a_training(self, rows: Any) -> None:
        both = threading.Barrier(2, timeout=240)
        names: set[str] = set()

        class Meeting(Viewing):
            """Meets the other worker at its first batch, and then trains on and on."""

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                name = threading.current_thread().name
                if self.training and "worker" in name and name not in names:
                    names.add(name)
                    both.wait()
                    both_train.set()
                return super().forward(x)

        both_train = threading.Event()
        namespace = {"model": Meeting(), "data": rows}
        spec = RunSpec(data="data", parties=4, lr=0.1, epochs=1_000_000, engine="local:workers=2")
        run = Run(spec, namespace).start()
        assert both_train.wait(240)
        run.pause()
        assert run.status == "paused"
        run.resume()
        run.stop()  # waits for the training thread, which no million of epochs holds up
        assert run.status == "stopped"
        assert not run.records

    def test_a_failure_ends_the_rest_of_a_round(self, rows: Any) -> None:
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
