"""Gathers runs of any origin to be compared: of this process, of experiments, folders, trackers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusion_nb.errors import OptionError, RunError, option
from fusion_nb.runs.experiments.comparing.entries import (
    Entry,
    defaults,
    entry_of,
    is_compared,
    named_by_difference,
    of_trial,
)
from fusion_nb.runs.experiments.comparing.stored import in_folder, is_stored, tracked
from fusion_nb.runs.experiments.trial import Facts, HasTrials, Trial
from fusion_nb.runs.run import Run


def entries_in(given: Any) -> list[Entry]:
    """Return the runs of a mapping by name, or of a list, which are named by what differs.

    Raises OptionError for a value that holds no run.
    """
    if isinstance(given, Mapping):
        found = [
            replace(entry, label=_label(str(name), entry, value))
            for name, value in given.items()
            for entry in _entries(str(name), value)
        ]
    else:
        values = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
        found = _of_list(values)
    if not any(entry.history for entry in found):
        raise RunError("there is no run with a whole round to compare", "train one first")
    return [entry for entry in found if entry.history or entry.status == "failed"]


def _of_list(values: Sequence[Any]) -> list[Entry]:
    """Return the runs of several values, named by what differs among all of them."""
    of_values = [_entries("", value) for value in values]
    if len(of_values) == 1 and all(entry.is_one_of_several for entry in of_values[0]):
        return of_values[0]
    named = iter(named_by_difference([entry for each in of_values for entry in each]))
    return _told_apart(values, [[next(named) for _ in each] for each in of_values])


def _told_apart(values: Sequence[Any], of_values: Sequence[Sequence[Entry]]) -> list[Entry]:
    """Return runs with the name of their experiment before their label where two experiments have
    the same label and seed, as two that hold different parts.
    """
    runs = [{(e.label, e.seed) for e in each if e.is_one_of_several} for each in of_values]
    counts = Counter(run for each in runs for run in each)
    clashing = {label for (label, _), count in counts.items() if count > 1}
    return [
        replace(entry, label=_label(name, entry, value))
        if name and entry.is_one_of_several and entry.label in clashing
        else entry
        for value, each in zip(values, of_values, strict=True)
        for name in [_name_of(value)]
        for entry in each
    ]


def _name_of(value: Any) -> str:
    """Return the name of an experiment, or of the folder of one, or ""."""
    if isinstance(value, HasTrials | Trial):
        return value.name
    return Path(value).name if isinstance(value, str | os.PathLike) else ""


def _label(name: str, entry: Entry, value: Any) -> str:
    """Return the name that runs were given; settings that differ among them stand behind it."""
    several = entry.is_one_of_several or bool(entry.lacks)
    is_experiment = several and entry.label not in ("", "all runs")
    return f"{name}: {entry.label}" if is_experiment and not isinstance(value, Trial) else name


def _entries(name: str, value: Any) -> list[Entry]:
    if isinstance(value, Run):
        facts = Facts.of(value)
        options = {**defaults(), **value.spec.model_dump(exclude_none=True), **facts.chosen}
        is_whole = value.status == "finished" or len(value.records) >= value.planned
        entry = entry_of(name or value.name, value.records, facts, options)
        return [replace(entry, status="finished" if is_whole else "stopped")]
    if isinstance(value, Trial):
        return _with_options([value])
    if isinstance(value, str) and is_stored(value):
        return named_by_difference(tracked(value))
    if isinstance(value, str | os.PathLike):
        return in_folder(Path(value).expanduser())
    if isinstance(value, HasTrials):
        return _with_options(value.runs)
    if isinstance(value, Sequence):
        return [entry for each in value for entry in _entries(name, each)]
    raise OptionError(
        f"{type(value).__name__} can't be compared" + (f" as {name!r}" if name else ""),
        "give runs, experiments, lists of them, folders that run.export() wrote, or a tracker as "
        f"{option('log')} has it",
    )


def _with_options(trials: Iterable[Trial]) -> list[Entry]:
    """Return what `entries_of` does, with the options that tell runs of experiments apart."""
    return [
        of_trial(
            trial,
            {
                **defaults(),
                **trial.point.spec.model_dump(exclude_none=True),
                **(trial.facts.chosen if trial.facts else {}),
                **trial.settings,
            },
        )
        for trial in trials
        if is_compared(trial)
    ]
