"""Trains the trials of an experiment in this process."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence

from fusion_nb.core.history import better
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.training import Prunes, TrialControl, Workshop, train
from fusion_nb.runs.experiments.trial import Trial

_KEEPING = threading.Lock()


class TrainerHere:
    """Trains one trial after the other in the thread that calls it.

    workshop: makes the runs;  folder: where those under way are saved, or None
    trials:   all of the experiment: the model of the best one is kept, and no other
    """

    def __init__(
        self,
        workshop: Workshop,
        folder: ExperimentFolder | None,
        trials: Sequence[Trial],
    ) -> None:
        self._workshop, self._folder, self._trials = workshop, folder, trials

    def train(
        self, trial: Trial, control: TrialControl, prunes: Prunes, told: Callable[[], object]
    ) -> None:
        """Train a trial to its end."""
        folder = self._folder.of_run(trial) if self._folder is not None else None
        run = self._workshop.make(trial.point, trial.name, control, folder)
        train(run, trial, prunes, told)
        trial.run = run
        keep_best(self._trials, trial)

    def close(self) -> None:
        """Release nothing: runs release what they hold."""


def keep_best(trials: Sequence[Trial], trial: Trial) -> None:
    """Drop the run of a trial, or those of all others where it is the best so far.

    One run has a model, and states of its parties: an experiment of many would fill the memory.
    """
    with _KEEPING:  # of two equal ones that end at once, one is kept
        _keep_best(trials, trial)


def _keep_best(trials: Sequence[Trial], trial: Trial) -> None:
    if trial.status != "finished" or trial.facts is None:
        trial.run = trial.weights = None
        return
    metric = trial.facts.monitor
    for other in trials:
        if other is trial or (other.run is None and other.weights is None):
            continue
        value = trial.value(metric)
        if better(metric, value, other.value(metric)) and not math.isnan(value):
            other.run = other.weights = None
        else:
            trial.run = trial.weights = None
            return
