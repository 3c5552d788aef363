"""The rounds of a run that is saved: each is told once its checkpoint is where it should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.core.history import History
from fusion_nb.core.protocols import Change
from fusion_nb.core.types import RoundRecord, Weights
from fusion_nb.models.base import Model
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.checkpoints.writer import CheckpointWriter
from fusion_nb.runs.rounds import RoundSource


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
    every: rounds from one checkpoint to the next; the last is always saved
    """

    def __init__(
        self,
        inner: RoundSource,
        take: Callable[[], Checkpoint],
        writer: CheckpointWriter,
        every: int = 1,
    ) -> None:
        self._inner, self._take, self._writer, self._every = inner, take, writer, every
        self._num_told = len(inner.history)
        self._is_begun = False
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
        found = self._inner.history
        return found if len(found) <= self._num_told else found[: self._num_told]

    @property
    def model(self) -> Model:
        """The adapter of the model."""
        return self._inner.model

    @property
    def weights(self) -> Weights:
        """The fused weights of the last whole round, or the first ones."""
        return self._inner.weights

    @property
    def best_weights(self) -> Weights:
        """The fused weights of the best round."""
        return self._inner.best_weights

    def rounds(self, num_rounds: int) -> Iterator[RoundRecord]:
        """Train that many rounds more, and yield each when it is whole and saved."""
        if not self._is_begun:
            self._writer.begin()
            self._is_begun = True
        last = len(self.history) + num_rounds
        try:
            for record in self._inner.rounds(num_rounds):
                is_due = record.round % self._every == 0 or record.round == last
                self._writer.add(self._take(), is_due=is_due)
                self._num_told = record.round
                yield record
        finally:
            # A round that could not be saved ends the run, which says so and still holds it.
            self._num_told = len(self._inner.history)

    def own_model(self, party: str) -> Any:
        """Return a party's own model."""
        return self._inner.own_model(party)

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
