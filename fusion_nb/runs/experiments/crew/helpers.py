"""Worker processes that join an experiment, once each has shown that its numbers are the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from fusion_nb.core.history import History
from fusion_nb.runs.experiments.crew.trainer import GivenBack
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.here import keep_best
from fusion_nb.runs.experiments.processes import WorkerProcess
from fusion_nb.runs.experiments.training import Prunes, TrialControl
from fusion_nb.runs.experiments.trial import Trial

#: The helpers of all experiments of this process that have not been closed.
_OPEN: set[Helper] = set()


class Helper:
    """A worker process that nobody asked for, beside a trainer in this process.

    packed: what all trials share;  folder: where those under way are saved, or None
    trials: all of the experiment;  shown: one that this process has trained

    A notebook may have changed what another process does not know of: a function of a framework,
    its default precision, a module whose file is another one now, the order of a set. So it first
    trains the beginning of `shown` again, and joins if that is the same to the last digit. It gives
    back a trial that failed, and trains no other.
    """

    def __init__(
        self,
        packed: bytes,
        folder: ExperimentFolder | None,
        trials: Sequence[Trial],
        shown: Trial,
    ) -> None:
        self._worker = WorkerProcess(packed, folder, trials)
        self._folder, self._trials, self._shown = folder, trials, shown
        _OPEN.add(self)

    def is_ready(self, control: TrialControl) -> bool:
        """Start the process, and return whether it may train; `close` ends the wait."""
        spec = self._shown.point.spec.model_copy(update={"checkpoint": ""})
        again = Trial(replace(self._shown.point, spec=spec))
        with suppress(Exception):  # it can't be started, say
            self._worker.follow(again, None, control, _is_measured, lambda: None)
            return _is_beginning(again, self._shown)
        return False

    def train(
        self, trial: Trial, control: TrialControl, prunes: Prunes, told: Callable[[], object]
    ) -> None:
        """Train a trial to its end. Raises GivenBack where it failed."""
        folder = self._folder.of_run(trial) if self._folder is not None else None
        try:
            self._worker.follow(trial, folder, control, prunes, told)
        except (EOFError, OSError):  # it was closed, or could not be started again
            trial.status = "failed"
        if trial.status == "failed":
            self.close()
            raise GivenBack
        keep_best(self._trials, trial)

    def close(self) -> None:
        """End the process, also while another thread waits for it."""
        _OPEN.discard(self)
        self._worker.close()


def num_open() -> int:
    """Return the number of helpers that all experiments of this process have."""
    return len(_OPEN)


def _is_measured(history: History) -> bool:
    """Return whether the last round has a metric of the fused model, and not of training alone."""
    return any(not name.startswith("train_") for name in history[-1].metrics)


def _is_beginning(again: Trial, shown: Trial) -> bool:
    """Return whether the rounds of a trial are the first ones of another one, number by number."""
    found, known = _numbers(again.records), _numbers(shown.records)
    if not found or again.facts is None or shown.facts is None:
        return False
    weights = {again.facts.initial_sha256, shown.facts.initial_sha256}
    return len(weights) == 1 and found == known[: len(found)]


def _numbers(history: History) -> list[str]:
    """Return the rounds as text that is equal for equal numbers, NaN too; without their times."""
    return [
        repr((r.cohort, dict(r.metrics), {p: dict(m) for p, m in r.party_metrics.items()}))
        + repr((r.bytes_up, r.bytes_down))
        for r in history
    ]
