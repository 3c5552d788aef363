"""The trials of a search: what Optuna asks for, under each of the seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.core.history import History
from fusion_nb.errors import FusionError
from fusion_nb.runs.experiments.search import Search, Study
from fusion_nb.runs.experiments.spec import ExperimentSpec, Point
from fusion_nb.runs.experiments.trial import TRIAL_ENDED, Trial


@dataclass
class _Asked:
    """A question of Optuna: its own trial, and ours, one for each seed."""

    asked: Any
    trials: list[Trial]
    #: The place of a trial -> its rounds that were reported.
    told: dict[int, int] = field(default_factory=dict)
    #: Whether the search wants it to end, as a trial that is under way does soon.
    is_worse: bool = False

    @property
    def is_pruned(self) -> bool:
        """Whether it ends early: the trials under its other seeds are not trained."""
        return self.is_worse or any(trial.status == "pruned" for trial in self.trials)


class SearchedTrials:
    """Asks for settings, a batch at a time, and tells the search how they did.

    spec: the experiment;  search: its search;  metric: what is to be best
    width: trials that are asked for at once;  add: takes a new trial into the experiment, with its
    outcome where it was saved

    The same seed of the search asks for the same settings again, so that one that was killed goes
    on with what it had.
    """

    def __init__(
        self,
        spec: ExperimentSpec,
        search: Search,
        metric: str,
        *,
        width: int,
        add: Callable[[Trial], None],
    ) -> None:
        self._spec, self._search, self._metric = spec, search, metric
        self._width, self._add = max(1, width), add
        self._groups: dict[int, _Asked] = {}

    def batches(self) -> Iterator[Sequence[Trial]]:
        """Yield the trials of settings that the search asks for, until it has had its number."""
        study = Study(self._search, self._spec.vary, self._metric)
        self._study = study
        number = done = 0
        while done < self._search.trials:
            groups = []
            for _ in range(min(self._width, self._search.trials - done)):
                asked, settings = study.ask()
                group = _Asked(asked, self._trials(settings, number))
                number += len(self._spec.seeds)
                groups.append(group)
                for trial in group.trials:
                    self._groups[trial.point.number] = group
                    self._add(trial)
            done += len(groups)
            for place in range(len(self._spec.seeds)):
                for group in groups:
                    self._report_ended(study, group)
                yield [
                    group.trials[place]
                    for group in groups
                    if not group.is_pruned and group.trials[place].status != "failed"
                ]
            for group in groups:
                self._tell(study, group)

    def prunes(self, trial: Trial, history: History) -> bool:
        """Return whether settings are worse than most others after the same number of rounds."""
        group = self._groups[trial.point.number]
        if self._report(self._study, group, group.trials.index(trial), history):
            group.is_worse = True
        return group.is_worse

    def _report(self, study: Study, group: _Asked, place: int, history: History) -> bool:
        """Report the rounds that are new to the search, and return whether it prunes.

        There are several where a trial goes on after it was saved.
        """
        prunes, first = False, place * self._spec.first().rounds
        known = group.told.get(place, 0)
        for count, record in enumerate(history[known:], known + 1):
            value = record.metrics.get(self._metric, math.nan)
            if math.isfinite(value):
                prunes = study.report(group.asked, value, first + count)
        group.told[place] = max(known, len(history))
        return prunes

    def _report_ended(self, study: Study, group: _Asked) -> None:
        """Report the trials that have ended: those that were saved were not trained."""
        for place, trial in enumerate(group.trials):
            if trial.status in TRIAL_ENDED:
                self._report(study, group, place, trial.records)

    def _trials(self, settings: Mapping[str, Any], number: int) -> list[Trial]:
        """Return one trial for each seed; settings that are not allowed are trials that failed."""
        trials = []
        for place, seed in enumerate(self._spec.seeds, 1):
            try:
                trials.append(Trial(self._spec.point(number + place, settings, seed)))
            except FusionError as error:
                point = Point(number + place, settings, seed, self._spec.first())
                trials.append(Trial(point, "failed", error.message))
        return trials

    def _tell(self, study: Study, group: _Asked) -> None:
        self._report_ended(study, group)
        if group.is_pruned:
            pruned = next((t for t in group.trials if t.status == "pruned"), group.trials[0])
            for trial in group.trials:
                if trial.status not in TRIAL_ENDED:
                    trial.status = "pruned"
                    trial.reason = f"these settings were pruned under seed {pruned.seed}"
            study.tell(group.asked, None, "pruned")
            return
        values = [trial.value(self._metric) for trial in group.trials if trial.status == "finished"]
        study.tell(group.asked, sum(values) / len(values) if values else None, "finished")
