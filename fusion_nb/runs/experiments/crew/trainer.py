"""The contracts of trainers: some are there from the start, and others join."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from fusion_nb.runs.experiments.training import Prunes, TrialControl
from fusion_nb.runs.experiments.trial import Trial


class Trainer(Protocol):
    """Trains one trial at a time, here or in another process."""

    def train(
        self, trial: Trial, control: TrialControl, prunes: Prunes, told: Callable[[], object]
    ) -> None:
        """Train a trial to its end. Raises GivenBack where it can't train any more."""

    def close(self) -> None:
        """Release what it holds."""


class Joining(Trainer, Protocol):
    """A trainer that joins an experiment under way."""

    def is_ready(self, control: TrialControl) -> bool:
        """Return whether it may train. This may take long; `close` in another thread ends it."""


class GivenBack(Exception):
    """A trial that its trainer could not end, and that another one is to train."""


class Crew(Protocol):
    """The trainers of an experiment."""

    def begin(self) -> Sequence[Trainer]:
        """Return those that train from the start."""

    def joining(self, num_left: int) -> Sequence[Joining]:
        """Return further ones, if any; asked whenever the first trainer has ended a trial.

        num_left: trials that no trainer has begun
        """

    def joined(self, trainer: Joining) -> None:
        """Take notice of one that is ready to train."""

    def notes(self) -> Sequence[str]:
        """Return sentences for the user about who trains."""
