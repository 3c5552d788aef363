"""The state of a run in the background, as others may read it at any time."""

from __future__ import annotations

from fusion_nb.core.history import History
from fusion_nb.core.run_control import RunControl
from fusion_nb.runs.rounds import RoundSource
from fusion_nb.runs.training_thread import TrainingThread


class TrainingState:
    """Tells how far a training is, and why it ended. It never waits."""

    def __init__(self, source: RoundSource, control: RunControl, thread: TrainingThread) -> None:
        self._source, self._control, self._thread = source, control, thread

    @property
    def status(self) -> str:
        """ready, running, paused, finished, stopped or failed."""
        thread = self._thread
        if thread.is_training:
            return "paused" if self._control.is_paused else "running"
        if not thread.was_launched:
            return "ready"
        if thread.ending.error is not None:
            return "failed"
        return (
            "finished"
            if len(self.records) >= thread.goal.rounds or thread.ending.reason
            else "stopped"
        )

    @property
    def reason(self) -> str:
        """Why it ended, in words, or an empty string."""
        return self._thread.ending.reason

    @property
    def error(self) -> BaseException | None:
        """The exception that ended it, or None."""
        return self._thread.ending.error

    @property
    def records(self) -> History:
        """The whole rounds so far, as a copy."""
        return History(self._source.history)

    @property
    def planned(self) -> int:
        """The number of rounds that it has in the end, if nothing ends it early."""
        return self._thread.goal.rounds

    @property
    def stops_early(self) -> bool:
        """Whether early stopping still applies; rounds that are added override it."""
        return bool(self._thread.goal.early_stopping)

    def early_reason(self, history: History) -> str:
        """Return why early stopping ends it after the last of these rounds, or ""."""
        return self._thread.goal.early_reason(history)
