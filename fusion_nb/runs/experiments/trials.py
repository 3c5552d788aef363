"""The runs of an experiment as one list: those that were planned, and those that a search adds."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fusion_nb.core.history import better
from fusion_nb.runs.experiments.trial import TRIAL_ENDED, Trial
from fusion_nb.runs.experiments.varying import columns_of

#: The beginning of a note that is a warning; warnings of runs that an experiment shows, at most.
_WARNING, _MAX_WARNINGS = "warning: ", 6
_NUMBER = re.compile(r"\d+(\.\d+)?(e[-+]?\d+)?")


class Trials(list[Trial]):
    """Runs in order, which take over the outcomes that a folder holds."""

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        super().__init__(trials)
        self._saved: Mapping[str, Mapping[str, Any]] = {}

    def restore(self, saved: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over saved outcomes, by the key of each run."""
        self._saved = saved
        for trial in self:
            self._restore(trial)

    def add(self, trial: Trial) -> None:
        """Add a run that a search asks for, or put it in the place of that of its number."""
        known = {each.point.number: i for i, each in enumerate(self)}
        self._restore(trial)
        if trial.point.number not in known:
            self.append(trial)
            return
        # The search began anew after a stop.
        earlier = self[known[trial.point.number]]
        if earlier.key() == trial.key() and earlier.status in TRIAL_ENDED:
            trial.take(earlier.to_dict())
            trial.run, trial.weights = earlier.run, earlier.weights
        self[known[trial.point.number]] = trial

    def best(self, metric: str) -> Trial | None:
        """Return the finished run that is best by a metric, the first of several, or None."""
        found = None
        for trial in self:
            if trial.status != "finished" or not trial.facts:
                continue
            if found is None or better(metric, trial.value(metric), found.value(metric)):
                found = trial
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each run: its settings first, and then what came of it."""
        settings = [columns_of(trial.settings) for trial in self]
        outcomes = [trial.outcome() for trial in self]
        found = list(dict.fromkeys(name for each in settings for name in each))
        options = list(dict.fromkeys(name.partition(".")[0] for name in found))
        names = sorted(found, key=lambda name: options.index(name.partition(".")[0]))
        taken = {name for each in outcomes for name in each}
        columns = {name: f"{name} (option)" if name in taken else name for name in names}
        return [
            {columns[name]: own.get(name, math.nan) for name in names} | outcome
            for own, outcome in zip(settings, outcomes, strict=True)
        ]

    def failures(self) -> list[str]:
        """Return a line for each run that failed."""
        return [f"{trial.name}: {trial.reason}" for trial in self if trial.status == "failed"]

    def warnings(self) -> list[str]:
        """Return the warnings of runs, with the number of runs that have each.

        Of those that differ in their numbers alone, the first one stands for all. A pruned run was
        ended before it could be good.
        """
        found: dict[str, list[str]] = {}
        for trial in [each for each in self if each.status != "pruned"]:
            for note in trial.facts.notes if trial.facts else ():
                if note.startswith(_WARNING):
                    found.setdefault(_NUMBER.sub("0", note), []).append(note)
        lines = [_counted(notes, len(self)) for notes in list(found.values())[:_MAX_WARNINGS]]
        rest = len(found) - len(lines)
        return [*lines, f"{rest} more warnings: .runs[0].facts.notes"] if rest > 0 else lines

    def counts(self) -> str:
        """Return how many runs have ended in which way, in words."""
        found = Counter(trial.status for trial in self)
        words = ("finished", "pruned", "failed", "stopped")
        return ", ".join(f"{found[word]} {word}" for word in words if found[word])

    def _restore(self, trial: Trial) -> None:
        outcome = self._saved.get(trial.key())
        if outcome is not None and trial.status not in TRIAL_ENDED:
            trial.take(outcome)


def _counted(notes: Sequence[str], num_runs: int) -> str:
    """Return the first of notes that are alike, with the number of runs that have one."""
    if len(notes) == num_runs and len({*notes}) == 1:
        return notes[0]
    word = "in" if len({*notes}) == 1 else "alike in"
    return f"{notes[0]} ({word} {len(notes)} of {num_runs} runs)"
