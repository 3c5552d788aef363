"""Worker processes that join an experiment which asked for none, where its runs take long."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import fusion_nb
from fusion_nb.errors import OptionError
from fusion_nb.runs.experiments import crews, processes
from fusion_nb.runs.experiments.crew import helpers
from fusion_nb.runs.experiments.crew.batch import Batch
from fusion_nb.runs.experiments.crew.helpers import Helper
from fusion_nb.runs.experiments.crews import GrowingCrew
from fusion_nb.runs.experiments.spec import ExperimentSpec
from fusion_nb.runs.experiments.training import Workshop

_GRID: dict[str, Any] = {"lr": [0.05, 0.1], "seeds": "0-2"}


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any rest be long enough, on a machine with two cores and much memory.

    The trainer of this process goes on when it is known whether those that join are ready.
    """
    monkeypatch.setattr(crews, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(crews, "num_cores", lambda: 2)
    monkeypatch.setattr(crews, "memory", lambda: (0, math.inf))
    # All cores' time that the first trial takes, in a process with threads of other tests.
    monkeypatch.setattr(crews, "_BESIDE", math.inf)
    invite = Batch.invite

    def invite_and_wait(self: Any, trainers: Any, is_ready: Callable[[Any], bool]) -> None:
        known = threading.Semaphore(0)

        def is_ready_then(trainer: Any) -> bool:
            try:
                return is_ready(trainer)
            finally:
                known.release()

        invite(self, trainers, is_ready_then)
        for _ in trainers:
            known.acquire()

    monkeypatch.setattr(Batch, "invite", invite_and_wait)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The trials that worker processes are given."""
    found: list[str] = []
    train = Helper.train

    def noted(self: Helper, trial: Any, *given: Any) -> None:
        found.append(trial.name)
        train(self, trial, *given)

    monkeypatch.setattr(Helper, "train", noted)
    return found


def curves(made: Any) -> list[tuple[str, list[float]]]:
    return [(trial.name, trial.history["loss"]) for trial in made.runs]


def test_the_curves_are_those_of_this_process(
    worth_it: None, sent: list[str], short_sweep: Any
) -> None:
    made, here = short_sweep(**_GRID), short_sweep(**_GRID, workers=0)
    assert sent
    assert curves(made) == curves(here)
    assert made.best.name == here.best.name
    assert made.model.state_dict().keys() == here.model.state_dict().keys()
    told = [note for note in made.notes if "2 runs at a time" in note]
    assert len(told) == 1
    assert "--workers 0" in told[0]
    assert not any("at a time" in note for note in here.notes)


def test_a_run_that_ends_its_process_is_trained_here(
    worth_it: None, sent: list[str], short_sweep: Any
) -> None:
    home, rounds = os.getpid(), [0]

    @fusion_nb.fusion
    def homesick(weights: Any, updates: Any) -> Any:
        rounds[0] += os.getpid() != home
        if rounds[0] > 2:  # those that show its numbers
            os.kill(os.getpid(), signal.SIGKILL)
        return next(iter(updates)).weights

    made = short_sweep(fusion="homesick", **_GRID)
    assert len(sent) == 1
    assert [trial.status for trial in made.runs] == ["finished"] * 6
    assert curves(made) == curves(short_sweep(fusion="homesick", **_GRID, workers=0))


def test_a_run_that_fails_there_is_tried_here(
    worth_it: None, sent: list[str], short_sweep: Any
) -> None:
    home, rounds = os.getpid(), [0]

    @fusion_nb.fusion
    def homely(weights: Any, updates: Any) -> Any:
        rounds[0] += os.getpid() != home
        assert rounds[0] <= 2
        return next(iter(updates)).weights

    made = short_sweep(fusion="homely", **_GRID)
    assert len(sent) == 1
    assert [trial.status for trial in made.runs] == ["finished"] * 6
    assert all(len(trial.records) == 2 and not trial.reason for trial in made.runs)


class Setting:
    """Something of a process that decides numbers, and that no other process knows of."""

    @staticmethod
    def patched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Any]:
        """A method of the framework is another one."""
        from torch import nn

        def ones(self: Any) -> None:
            nn.init.constant_(self.weight, 0.1)
            nn.init.zeros_(self.bias)

        monkeypatch.setattr(nn.Linear, "reset_parameters", ones)
        return lambda: nn.Linear(5, 3)

    @staticmethod
    def edited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Any]:
        """The file of a module is another one than when it was imported."""
        monkeypatch.syspath_prepend(tmp_path)
        file = tmp_path / "edited_models.py"
        text = "from torch import nn\ndef built():\n    return nn.Sequential(nn.Linear(5, 3))\n"
        file.write_text(text)
        module = ModuleType("edited_models")
        exec(text, vars(module))
        monkeypatch.setitem(sys.modules, "edited_models", module)
        file.write_text(text.replace("nn.Linear(5, 3)", "nn.Linear(5, 8), nn.Linear(8, 3)"))
        built: Callable[[], Any] = vars(module)["built"]
        return built

    @staticmethod
    def order_of_a_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Any]:
        """The order of a set of texts."""
        from torch import nn

        def built() -> Any:
            model = nn.Linear(5, 3)
            place = [*{*map(str, range(1000))}].index("7")
            nn.init.constant_(model.weight, place / 1000)
            return model

        return built

    @staticmethod
    def somebody_to_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Any]:
        """A keyboard."""
        from torch import nn

        home = os.getpid()

        def built() -> Any:
            if os.getpid() != home:
                input("how wide? ")
            return nn.Linear(5, 3)

        return built


@pytest.mark.parametrize("kind", ["patched", "edited", "order_of_a_set", "somebody_to_ask"])
def test_none_joins_that_would_compute_other_numbers(
    kind: str,
    worth_it: None,
    sent: list[str],
    rows: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    build = getattr(Setting, kind)(monkeypatch, tmp_path)
    options: dict[str, Any] = {"rounds": 2, "parties": 3, **_GRID}
    made = fusion_nb.sweep(build, rows, **options)
    assert not sent
    assert curves(made) == curves(fusion_nb.sweep(build, rows, **options, workers=0))
    assert not any("at a time" in note for note in made.notes)


class Slow:
    """Builds a model, and can be read in the process that made it alone.

    does: what another process does: wait or raise
    """

    def __init__(self, does: str) -> None:
        self.does = does

    def __reduce__(self) -> tuple[Any, ...]:
        def read(home: int, does: str) -> Any:
            import os
            import time

            if does == "raise":
                raise ValueError("not here")
            while os.getpid() != home:
                time.sleep(0.05)

        return read, (os.getpid(), self.does)


def needing(slow: Slow, build: Callable[[], Any]) -> Callable[[], Any]:
    """Return a function that builds a model, and with which `slow` is sent."""

    def built() -> Any:
        assert slow.does
        return build()

    return built


def test_one_that_comes_too_late_is_not_waited_for(
    worth_it: None, monkeypatch: pytest.MonkeyPatch, build: Any, rows: Any
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(crews, "WORTH_SECONDS", 0.0)
    monkeypatch.setattr(crews, "num_cores", lambda: 8)
    monkeypatch.setattr(crews, "memory", lambda: (0, math.inf))
    begun: list[Helper] = []
    is_ready = Helper.is_ready

    def noted(self: Helper, control: Any) -> bool:
        begun.append(self)
        return is_ready(self, control)

    monkeypatch.setattr(Helper, "is_ready", noted)
    made = fusion_nb.sweep(needing(Slow("wait"), build), rows, rounds=2, parties=3, **_GRID)
    assert begun
    assert [trial.status for trial in made.runs] == ["finished"] * 6
    assert helpers.num_open() == 0


def test_what_another_process_can_not_read_is_trained_here(
    worth_it: None, sent: list[str], build: Any, rows: Any
) -> None:
    model = needing(Slow("raise"), build)
    made = fusion_nb.sweep(model, rows, rounds=2, parties=3, **_GRID)
    assert not sent
    assert [trial.status for trial in made.runs] == ["finished"] * 6
    asked = fusion_nb.sweep(model, rows, rounds=2, parties=3, **_GRID, workers=1)
    assert [trial.status for trial in asked.runs] == ["failed"] * 6
    assert "can't be read in another process (ValueError: not here)" in asked.runs[0].reason


def test_what_can_not_be_sent_is_trained_here(
    worth_it: None, sent: list[str], short_sweep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> bytes:
        raise OptionError("the model can't be sent")

    monkeypatch.setattr(processes, "packed_setup", refused)
    made = short_sweep(**_GRID)
    assert made.status == "finished"
    assert not sent
    assert not any("at a time" in note for note in made.notes)


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 0},
        {"engine": "process:workers=1"},
        {"engine": ["local", "process:workers=1"]},
        {"search": "optuna:trials=2,pruner=none", "lr": "[0.05,0.1]"},
        {"callbacks": [lambda run, record: None]},
        {"log": "tensorboard:folder=logs"},
    ],
)
def test_none_joins_where_the_runs_belong_here(
    worth_it: None,
    sent: list[str],
    short_sweep: Any,
    options: dict[str, Any],
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    made = short_sweep(**{**_GRID, "lr": 0.1, "rounds": 1, **options})
    assert made.status == "finished"
    assert not sent


def test_none_joins_where_the_cell_draws_its_data(
    worth_it: None, sent: list[str], ip: Any, rows: Any
) -> None:
    ip.ns["rows"] = rows
    body = "from torch import nn\nmodel = nn.Linear(5, 3)\n"
    line = "--lr [0.1,0.2] --seeds 0-1 --rounds 1 --parties 2"
    ip.run(f"%%fusion sweep --data mine {line}\n{body}mine = rows\n")
    assert not sent
    ip.run(f"%%fusion sweep --data rows {line}\n{body}")
    assert sent


def joined(
    monkeypatch: pytest.MonkeyPatch,
    times: Sequence[tuple[float, float]],
    num_left: int,
    *,
    each: float = 10.0,
    cores: int = 4,
    memory: tuple[float, float] = (1e9, 1e12),
    sent: int = 1000,
    num_open: int = 0,
) -> list[int]:
    """Return how many processes join after each trial.

    times: when it ended, and the seconds of all cores until then;  each: seconds of its rounds
    """
    clock = iter([(0.0, 0.0), (0.0, 0.0), *times])
    monkeypatch.setattr(crews, "_times", lambda: next(clock))
    monkeypatch.setattr(crews, "num_cores", lambda: cores)
    monkeypatch.setattr(crews, "memory", lambda: memory)
    monkeypatch.setattr(processes, "packed_setup", lambda *_: b"." * sent)
    monkeypatch.setattr(helpers, "Helper", lambda *_: object())
    monkeypatch.setattr(helpers, "num_open", lambda: num_open)
    trials: Any = [
        SimpleNamespace(status="waiting", records=[1], seconds=0.0)
        for _ in range(len(times) + num_left)
    ]
    crew = GrowingCrew(ExperimentSpec(), {}, None, trials, Workshop({}), ())
    crew.begin()
    found = []
    for i in range(len(times)):
        trials[i].status, trials[i].seconds = "finished", each
        found.append(len(crew.joining(len(trials) - i - 1)))
    return found


def test_they_join_once_where_the_rest_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [(2.0, 2.0), (4.0, 4.0)]
    assert joined(monkeypatch, times, 3, each=2.0) == [3, 0]
    assert joined(monkeypatch, times, 2, each=2.0) == [0, 0]


def test_time_that_goes_by_before_the_first_round_counts_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert joined(monkeypatch, [(60.0, 60.0)], 20, each=0.1) == [0]


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        ({}, 3),
        ({"cores": 2}, 1),
        ({"cores": 1}, 0),
        ({"cores": 64}, 3),
        ({"memory": (1e9, 1.9e9)}, 1),
        ({"memory": (1e9, 1.2e9)}, 0),
        ({"sent": 300 << 20}, 0),
    ],
)
def test_no_more_join_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any], count: int
) -> None:
    assert joined(monkeypatch, [(10.0, 10.0)], 20, **limits) == [count]


def test_runs_that_use_several_cores_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert joined(monkeypatch, [(10.0, 19.0)], 20, cores=2) == [0]
    assert joined(monkeypatch, [(10.0, 19.0)], 20, cores=4) == [1]


def test_a_trial_for_each_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert joined(monkeypatch, [(10.0, 10.0)], 3) == [2]
    assert joined(monkeypatch, [(10.0, 10.0)], 1) == [0]  # it is begun here
    assert joined(monkeypatch, [(10.0, 10.0)], 0) == [0]


def test_experiments_at_the_same_time_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert joined(monkeypatch, [(10.0, 10.0)], 20, cores=4, num_open=2) == [1]
    assert joined(monkeypatch, [(10.0, 10.0)], 20, cores=4, num_open=3) == [0]
