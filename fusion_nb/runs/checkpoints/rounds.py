"""The rounds of a run that is saved: each is told once its checkpoint is where it should be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.core.history import History
from fusion_nb.core.protocols import Change
from fusion_nb.core.types import RoundRecord, Weights
from fusion_nb.errors import Stopped
from fusion_nb.models.base import Model
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.checkpoints.writer import CheckpointWriter
from fusion_nb.runs.rounds import FederationRounds, RoundSource


@dataclass(frozen=True)
class _Told:
    """The part of a run that is told: up to a safe round; a later one may be whole already."""

    history: History
    weights: Weights
    best_weights: Weights


class _Seen:
    """The part of a source that each thread sees: what is told, or all that there is.

    told: None while nothing is trained: the source tells no more than what is safe
    """

    def __init__(self, source: FederationRounds) -> None:
        self.told: _Told | None = None
        self._source = source
        #: The thread that sees what is not told yet.
        self._ahead: threading.Thread | None = None

    @contextmanager
    def all_of_it(self) -> Iterator[None]:
        """Let this thread see all that there is inside `with`."""
        self._ahead = threading.current_thread()
        try:
            yield
        finally:
            self._ahead = None

    def now(self) -> _Told:
        """Return what this thread sees."""
        told = self.told
        if told is not None and threading.current_thread() is not self._ahead:
            return told
        return _Told(self._source.history, self._source.weights, self._source.best_weights)


@dataclass(frozen=True)
class Storage:
    """Where a run is saved.

    folder: of its checkpoints, or "" where it is not saved
    notes:  sentences about it, and warnings where it can't be written
    """

    folder: str = ""
    notes: list[str] = field(default_factory=list)


class SavedRounds(RoundSource):
    """The rounds of another source, which are saved.

    take:  returns the checkpoint of the last whole round, which is not to be changed any more
    stop:  ends the training at its next gate, where a round can't be saved
    every: rounds from one checkpoint to the next; the last is always saved
    """

    def __init__(
        self,
        inner: FederationRounds,
        take: Callable[[], Checkpoint],
        writer: CheckpointWriter,
        stop: Callable[[], object],
        every: int = 1,
    ) -> None:
        self._inner, self._take, self._writer, self._every = inner, take, writer, every
        self._stop = stop
        self._is_begun = False
        #: Number of the round after which the training ends, if nothing ends it early.
        self._last = 0
        self._seen = _Seen(inner)
        self.rows_went_to, self.line_options = inner.rows_went_to, inner.line_options

    @property
    def notes(self) -> list[str]:
        """Sentences of the other source."""
        return self._inner.notes

    @property
    def storage(self) -> Storage:
        """Where the checkpoints are."""
        folder = self._writer.folder.path
        return Storage(str(folder), self._writer.notes or [f"checkpoints: {folder}"])

    @property
    def history(self) -> History:
        """The whole rounds that are told."""
        return self._seen.now().history

    @property
    def model(self) -> Model:
        """The adapter of the model."""
        return self._inner.model

    @property
    def weights(self) -> Weights:
        """The fused weights of the last round that is told, or the first ones."""
        return self._seen.now().weights

    @property
    def best_weights(self) -> Weights:
        """The fused weights of the best round that is told."""
        return self._seen.now().best_weights

    def rounds(self, num_rounds: int) -> Iterator[RoundRecord]:
        """Train that many rounds more, and yield each when it is whole. `when_safe` saves it."""
        if not self._is_begun:
            self._writer.begin(on_failure=self._stop)
            self._is_begun = True
        inner = self._inner
        self._last = len(inner.history) + num_rounds
        self._seen.told = _Told(History(inner.history), inner.weights, inner.best_weights)
        return inner.rounds(num_rounds)

    def when_safe(self, tell: Callable[[], object]) -> None:
        """Let the last whole round be saved, and call `tell` after that."""
        checkpoint = self._take()
        state = checkpoint.snapshot.state
        assert state is not None
        now = _Told(History(checkpoint.snapshot.history), state.weights, checkpoint.best)

        def show() -> None:
            self._seen.told = now
            tell()

        number = checkpoint.round
        is_due = number % self._every == 0 or number == self._last
        self._writer.add(checkpoint, show, is_due=is_due)
        self._raise_stopped()

    def showing_latest(self) -> AbstractContextManager[None]:
        """Answer this thread about the last whole round inside `with`, saved or not."""
        return self._seen.all_of_it()

    @property
    def failure(self) -> BaseException | None:
        """The error that ended the writing, where the run has to end for it."""
        return self._writer.failure

    def settle(self) -> None:
        """Wait until all whole rounds are told.

        Raises Stopped where one can't be saved. That ends the run, which says so and still holds
        it.
        """
        self._writer.settle()
        self._seen.told = None
        self._raise_stopped()

    def test_weights(self, party: str, *, is_personal: bool) -> Weights:
        """Return the weights with which a party's test rows are predicted."""
        return self._inner.test_weights(party, is_personal=is_personal)

    def own_model(self, party: str) -> Any:
        """Return a party's own model after the last round that is told."""
        return self._inner.own_model_after(party, self.weights, len(self.history))

    def plan(self, last: int, after: int | None = None) -> None:
        """Plan rounds up to `last`."""
        self._inner.plan(last, after)

    def change(self, change: Change) -> None:
        """Change options from the next round on."""
        self._inner.change(change)

    def check_request(self, request: str) -> None:
        """Raise RunError for a request that can't be followed."""
        self._inner.check_request(request)

    def finish(self) -> None:
        """Do the step after the last round, once."""
        self._inner.finish()

    def close(self) -> None:
        """Release workers, and the folder once the last whole round is saved."""
        self._inner.close()
        if self._is_begun:
            self._is_begun = False
            self._writer.end()

    def _raise_stopped(self) -> None:
        if self.failure is not None:
            raise Stopped
