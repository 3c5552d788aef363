"""The protocol of callbacks: what a run calls when it begins, after each round, and at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fusion_nb.core.types import RoundRecord


class Callback:
    """A part of a program that follows a run. A subclass defines those methods that it needs.

    All of them are given the `Run`, and are called in the thread that trains it. Early stopping,
    trackers, the lines of `fusion-nb run` and functions under `@run.after_round` are callbacks.

    >>> class Losses(Callback):
    ...     def on_start(self, run):
    ...         self.seen = []
    ...     def on_round(self, run, record):
    ...         self.seen.append(record.metrics["loss"])
    ...         return len(self.seen) > 2 and self.seen[-1] > self.seen[-3]  # True ends the run
    """

    #: Whether a round is told to it only once it is saved. Such a callback can't end a run: the
    #: next round may have begun.
    after_saving: bool = False

    @property
    def name(self) -> str:
        """Its name in notes."""
        return type(self).__name__

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for `run.notes`."""
        return ()

    def on_start(self, run: Any) -> None:
        """Begin to follow a run: its first training, or one that `more` or a resume adds."""

    def on_round(self, run: Any, record: RoundRecord) -> Any:
        """Follow a whole round. True, or a reason in words, ends the run after it."""

    def on_end(self, run: Any) -> None:
        """Follow the end of a training, whatever ended it: `run.status` and `run.reason` tell."""
