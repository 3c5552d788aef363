"""What the tests of runs share: runs of small networks, and a source of rounds without a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.core.history import History
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.types import RoundRecord, Weights
from fusion_nb.runs.background_run import BackgroundRun
from fusion_nb.runs.rounds import RoundSource

#: Seconds after which a test that hangs fails.
TIMEOUT = 240


@pytest.fixture
def run_of(rows: Any) -> Callable[..., Run]:
    """A maker of runs on the small rows."""

    def make(model: Any, **options: Any) -> Run:
        defaults: dict[str, Any] = {"lr": 0.1, "rounds": 4}
        return Run(RunSpec(data="data", **defaults | options), {"model": model, "data": rows})

    return make


class CountedRounds(RoundSource):
    """Rounds that do nothing but pass the gate, once `allowed` is set.

    before_record: called before the record of a round is added;  finishing: called by `finish`
    """

    def __init__(self) -> None:
        self.control = RunControl()
        self.allowed, self.begun = threading.Event(), threading.Event()
        self.before_record: Callable[[], object] = lambda: None
        self.finishing: Callable[[], object] = lambda: None
        self.num_closed = 0
        self.planned: list[tuple[int, int | None]] = []
        self._history = History()

    @property
    def history(self) -> History:
        return self._history

    @property
    def model(self) -> Any:
        return None

    @property
    def weights(self) -> Weights:
        return {}

    @property
    def best_weights(self) -> Weights:
        return {}

    def own_model(self, party: str) -> Any:
        return None

    def rounds(self, num_rounds: int) -> Iterator[RoundRecord]:
        for _ in range(num_rounds):
            self.begun.set()
            assert self.allowed.wait(TIMEOUT)
            self.control.gate()
            self.before_record()
            number = len(self._history) + 1
            self._history.append(RoundRecord(number, {"loss": 1 / number}, {}, (), 0.0, 0, 0))
            yield self._history[-1]

    def plan(self, last: int, after: int | None = None) -> None:
        self.planned.append((last, after))

    def finish(self) -> None:
        self.finishing()

    def close(self) -> None:
        self.num_closed += 1


class Driven:
    """A background run of counted rounds, and the changes of status that it told."""

    def __init__(self, num_rounds: int, **options: Any) -> None:
        self.source = CountedRounds()
        self.told: list[str] = []
        self.on_change: Callable[[], object] = lambda: None
        self.run = BackgroundRun(
            self.source,
            self.source.control,
            num_rounds,
            name="run",
            on_change=self._tell,
            **options,
        )

    def _tell(self) -> None:
        self.told.append(self.run.state.status)
        self.on_change()


@pytest.fixture
def drive() -> Iterator[Callable[..., Driven]]:
    """A maker of background runs whose rounds go on at once, or with `held=True` when they are
    allowed to."""
    made: list[Driven] = []

    def make(num_rounds: int = 6, *, held: bool = False, **options: Any) -> Driven:
        made.append(Driven(num_rounds, **options))
        if not held:
            made[-1].source.allowed.set()
        return made[-1]

    yield make
    for driven in made:
        driven.source.allowed.set()
        driven.run.stop()
