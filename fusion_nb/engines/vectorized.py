"""The engine for small models: several parties' models train as one batched tensor program."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.core.protocols import BatchTrainable, Model, PartyLike
from fusion_nb.core.types import (
    Metrics,
    Reply,
    Request,
    RoundRequest,
    TrainingResult,
    TrainingTask,
    Weights,
)
from fusion_nb.engines.local import LocalEngine
from fusion_nb.errors import OptionError, missing_extra, option


class VectorizedEngine(LocalEngine):
    """Stacks the models of several parties and trains them together.

    Its curve is the local engine's except for rounding. A party's half of a fusion runs as on any
    engine; where it trains, it is suspended until the other parties of its stack train too, and
    then all trainings are done at once. Which parties share a stack follows from the cohort and the
    model, and not from the number of cores, since it decides the last digits.
    stack: parties in one stack at most; fewer where their weights would take too much memory
    """

    def __init__(
        self,
        *,
        workers: Annotated[
            int, Field(description="stacks that train at once, at most; 0: one for each core", ge=0)
        ] = 0,
        keep_memory: Annotated[
            bool,
            Field(description="faster: freed memory stays with the process until the run ends"),
        ] = False,
        stack: Annotated[
            int,
            Field(
                description="parties whose models are trained as one, at most; 0: by the size of "
                "the model",
                ge=0,
            ),
        ] = 0,
    ) -> None:
        if stack == 1:
            raise OptionError(
                "a stack of 1 party", "give stack=2 or more, or take the engine local"
            )
        super().__init__(workers=workers, keep_memory=keep_memory)
        self._stack = stack

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Return notes for the user. Raises OptionError where models can't train in stacks."""
        if reason := check_batchable(model, options, parties):
            raise OptionError(
                f"{option('engine', 'vectorized')} can't train this model: {reason}",
                f"leave it to {option('engine', 'local')}",
            )
        return ["engine: vectorized", *super().check(model, options, parties)]

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort, a stack at a time, and yield replies in its order."""
        if isinstance(request, RoundRequest) and len(cohort) > 1:
            return self._run_stacks(request, cohort)
        return super().run(request, cohort)

    def _run_stacks(self, request: RoundRequest, cohort: Sequence[str]) -> Iterator[Reply]:
        def answer(model: Model, stack: Sequence[str]) -> list[Reply]:
            turns: list[Turn] = [
                lambda model, party=party: self._parties[party].answer(request, model)  # type: ignore[misc]
                for party in stack
            ]
            return run_turns(model, turns)

        stacks = self._stacks(request, cohort)
        if self._workers and len(stacks) > 1:
            answers = self._workers.map(answer, stacks)
        else:
            model = self._model
            assert model is not None
            answers = (answer(model, stack) for stack in stacks)
        for replies in answers:
            yield from replies

    def _stacks(self, request: RoundRequest, cohort: Sequence[str]) -> list[Sequence[str]]:
        """Return the parties of a cohort in stacks of one size: none is left to train alone."""
        assert isinstance(self._model, BatchTrainable)
        parties = [self._parties[party] for party in cohort]
        advice = self._model.advise_stack(request.options, parties)
        most = max(2, min(self._stack or advice.size, advice.most))
        fewest = min(2, len(cohort) // 4)  # for two cores, where that leaves stacks of four
        num_stacks = min(max(-(-len(cohort) // most), fewest), len(cohort) // 2)
        bounds = [round(i * len(cohort) / num_stacks) for i in range(num_stacks + 1)]
        return [cohort[start:end] for start, end in itertools.pairwise(bounds)]


class SuspendableModel:
    """The model as one party of a stack sees it; its `fit` suspends the party's turn.

    It has weights of its own; its facts and metrics are those of the one real model.
    """

    def __init__(self, model: Model, suspend: Callable[[TrainingTask], Any]) -> None:
        self._model, self._suspend = model, suspend
        self._weights: Weights = {}

    @property
    def kind(self) -> str:
        """The real model's."""
        return self._model.kind

    @property
    def metrics(self) -> tuple[str, ...]:
        """The real model's."""
        return self._model.metrics

    @property
    def train_metrics(self) -> tuple[str, ...]:
        """The real model's."""
        return self._model.train_metrics

    @property
    def costly_metrics(self) -> tuple[str, ...]:
        """The real model's."""
        return self._model.costly_metrics

    @property
    def added_metrics(self) -> tuple[str, ...]:
        """The real model's."""
        return self._model.added_metrics

    @property
    def ignored_label(self) -> int | None:
        """The real model's."""
        return self._model.ignored_label

    def check_weights(self, found: Weights, expected: Weights, *, partial: bool = False) -> str:
        """Return what the real model finds wrong."""
        return self._model.check_weights(found, expected, partial=partial)

    def set_weights(self, weights: Weights) -> None:
        """Load weights."""
        self._weights = weights

    def fit(self, data: Any, **options: Any) -> TrainingResult:
        """Train on the rows, once all parties of the stack train."""
        result = self._suspend(TrainingTask(self._weights, data, options))
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, TrainingResult)
        self._weights = result.weights
        return result

    def evaluate(self, data: Any) -> Metrics:
        """Return the metrics over the rows."""
        self._model.set_weights(self._weights)
        return self._model.evaluate(data)

    def evaluate_train(self, data: Any, state: Mapping[str, Any]) -> Metrics:
        """Return the training metrics of a party's rows with its state."""
        self._model.set_weights(self._weights)
        return self._model.evaluate_train(data, state)

    def evaluate_costly(self, data: Any) -> Metrics:
        """Return the costly metrics that the rows allow."""
        self._model.set_weights(self._weights)
        return self._model.evaluate_costly(data)

    def evaluate_added(self, data: Any) -> Metrics:
        """Return the metrics that the run added over the rows."""
        self._model.set_weights(self._weights)
        return self._model.evaluate_added(data)

    def join_added(self, name: str, values: Sequence[Any]) -> float:
        """Return one of them over all rows of several values."""
        return self._model.join_added(name, values)


#: One party's turn in a stack: it is given the model that the party sees.
Turn = Callable[[SuspendableModel], Reply]


def run_turns(model: Model, turns: Sequence[Turn]) -> list[Reply]:
    """Return the replies of several turns, whose trainings are done together.

    A turn is a greenlet, a function that can be suspended. Each is suspended at `fit`; once all
    that are left have arrived there, their trainings are one call.
    """
    assert isinstance(model, BatchTrainable)
    greenlet = _greenlet()
    hub = greenlet.getcurrent()
    tracks = [greenlet.greenlet(turn, hub) for turn in turns]
    waiting = {
        i: track.switch(SuspendableModel(model, hub.switch)) for i, track in enumerate(tracks)
    }
    replies: dict[int, Reply] = {}
    while True:
        replies |= {i: waiting.pop(i) for i in list(waiting) if tracks[i].dead}
        if not waiting:
            return [replies[i] for i in range(len(turns))]
        results = model.train_batched(list(waiting.values()))
        waiting = {i: tracks[i].switch(result) for i, result in zip(waiting, results, strict=True)}


def check_batchable(model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]) -> str:
    """Return why a model can't be trained in stacks, or an empty string."""
    _greenlet()
    if not isinstance(model, BatchTrainable):
        return f"a {model.kind} is trained one party at a time"
    with model.single_threaded():
        return model.check_batchable(options, parties)


def _greenlet() -> Any:
    try:
        import greenlet
    except ModuleNotFoundError as error:
        raise missing_extra(error, option("engine", "vectorized")) from error
    return greenlet
