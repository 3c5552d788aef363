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
from fusion_nb.runs.experiments.trial import Trial


@dataclass
class _Asked:
    """A question of Optuna: its own trial, and ours, one for each seed."""

    asked: Any
    trials: list[Trial]
    is_pruned: bool = False
    told: set[tuple[int, int]] = field(default_factory=set)


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
        value = history[-1].metrics.get(self._metric, math.nan)
        place = group.trials.index(trial)
        key = (place, len(history))
        if not math.isfinite(value) or key in group.told:
            return False
        group.told.add(key)
        step = place * self._spec.first().rounds + len(history)
        group.is_pruned = self._study.report(group.asked, value, step)
        return group.is_pruned

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
        for trial in group.trials:  # those that were saved were not trained, and not reported
            for count in range(1, len(trial.records) + 1):
                place = group.trials.index(trial)
                value = trial.records[count - 1].metrics.get(self._metric, math.nan)
                if (place, count) not in group.told and math.isfinite(value):
                    group.told.add((place, count))
                    study.report(group.asked, value, place * self._spec.first().rounds + count)
        if any(trial.status == "pruned" for trial in group.trials):
            study.tell(group.asked, None, "pruned")
            return
        values = [trial.value(self._metric) for trial in group.trials if trial.status == "finished"]
        study.tell(group.asked, sum(values) / len(values) if values else None, "finished")
