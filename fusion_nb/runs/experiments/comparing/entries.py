"""Runs in one form, to be compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fusion_nb.core.history import History
from fusion_nb.runs.experiments.trial import Facts, Trial
from fusion_nb.runs.experiments.varying import label_of
from fusion_nb.runs.spec import RunSpec

#: Options that do not tell runs apart: they say where a run is trained, or are seeds.
NOT_TOLD = {"seed", "seed_of", "checkpoint", "engine", "device", "code", "log"}
#: Of a run that failed before it began.
NO_FACTS = Facts(("loss", "loss"), "loss")


@dataclass(frozen=True)
class Entry:
    """One run in a comparison.

    label:   what it shares with those that differ in the seed alone;  seed: of the run
    metrics: the loss, and the metric that people read;  monitor: the one that decides the best
    steps:   gradient steps in each round, or None;  options: those that tell it from others
    lacks:   a sentence about parts of the run that its tracker did not keep, or ""
    status:  finished, failed, or another one of a run that has not ended as planned
    is_one_of_several: whether the label names a setting of an experiment
    """

    label: str
    seed: int
    history: History
    metrics: tuple[str, str]
    monitor: str
    loss_name: str = ""
    steps: tuple[int, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    lacks: str = ""
    status: str = "finished"
    is_one_of_several: bool = False

    def last(self, metric: str) -> float:
        """Return the last value of a metric, NaN without any."""
        return self.history.last().get(metric, math.nan)


def entries_of(trials: Iterable[Trial]) -> list[Entry]:
    """Return the trials that have rounds, and those that failed; pruned ones are left out."""
    return [of_trial(trial) for trial in trials if is_compared(trial)]


def is_compared(trial: Trial) -> bool:
    """Return whether a trial has rounds, and was not pruned, or failed, which is told."""
    return trial.status != "pruned" and bool(trial.records or trial.status == "failed")


def of_trial(trial: Trial, options: Mapping[str, Any] | None = None) -> Entry:
    """Return a trial. options: those that tell it from runs of other experiments."""
    label, facts = trial.point.label or "all runs", trial.facts or NO_FACTS
    entry = entry_of(label, trial.records, facts, options or {})
    return replace(entry, seed=trial.seed, status=trial.status, is_one_of_several=True)


def named_by_difference(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries named by the options that differ among them."""
    # One that failed may not have come to the options that its model chooses.
    specs = [entry.options for entry in entries if entry.history or entry.status != "failed"]
    known = list(dict.fromkeys(name for spec in specs for name in spec))
    differ = [
        name
        for name in known
        if name not in NOT_TOLD and len({str(spec.get(name)) for spec in specs}) > 1
    ]
    named = []
    for entry in entries:
        settings = {name: entry.options[name] for name in differ if name in entry.options}
        named.append(replace(entry, label=label_of(settings) or "all runs"))
    return named


def doubts(entries: Sequence[Entry]) -> list[str]:
    """Return sentences about parts that no tracker kept, and about seeds that are there twice."""
    lacks = dict.fromkeys(entry.lacks for entry in entries if entry.lacks)
    counts = Counter((entry.label, entry.seed) for entry in entries)
    twice = [f"{label} has seed {seed} {n} times" for (label, seed), n in counts.items() if n > 1]
    if not twice:
        return [*lacks]
    meaning = "each counts as a run of its own in the mean, and all of them as one in a test"
    return [*lacks, f"warning: {twice[0]}: {meaning}"]


def entry_of(name: str, records: History, facts: Facts, options: Mapping[str, Any]) -> Entry:
    """Return a run of that name with its rounds, its facts and its options."""
    return Entry(
        name,
        int(options.get("seed", 0)),
        records,
        facts.metrics,
        facts.monitor,
        facts.loss_name,
        facts.steps,
        dict(options),
    )


def defaults() -> dict[str, Any]:
    """Return the options of a run that gives none."""
    return {name: field.default for name, field in RunSpec.model_fields.items()}
