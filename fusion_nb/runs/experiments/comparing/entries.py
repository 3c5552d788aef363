"""Runs of any origin in one form, to be compared: of this process, of experiments, of folders."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.history import History, from_dict
from fusion_nb.core.protocols.tracker import StoredRun
from fusion_nb.errors import OptionError, RunError, option
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.trial import Facts, HasTrials, Trial
from fusion_nb.runs.experiments.varying import label_of
from fusion_nb.runs.redaction import without_secrets
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec
from fusion_nb.runs.trackers.event_reading import has_events
from fusion_nb.runs.trackers.option import make
from fusion_nb.runs.trackers.rounds_read import history_of, lacks_of, options_of

#: Options that do not tell runs apart: they say where a run is trained, or are seeds.
_NOT_TOLD = {"seed", "seed_of", "checkpoint", "engine", "device", "code", "log"}
#: Of a run that failed before it began.
_NO_FACTS = Facts(("loss", "loss"), "loss")


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
    return [_of_trial(trial) for trial in trials if _is_compared(trial)]


def _is_compared(trial: Trial) -> bool:
    return trial.status != "pruned" and bool(trial.records or trial.status == "failed")


def _of_trial(trial: Trial, options: Mapping[str, Any] | None = None) -> Entry:
    label, facts = trial.point.label or "all runs", trial.facts or _NO_FACTS
    entry = _entry(label, trial.records, facts, options or {})
    return replace(entry, seed=trial.seed, status=trial.status, is_one_of_several=True)


def _with_options(trials: Iterable[Trial]) -> list[Entry]:
    """Return what `entries_of` does, with the options that tell runs of experiments apart."""
    return [
        _of_trial(
            trial,
            {
                **_defaults(),
                **trial.point.spec.model_dump(exclude_none=True),
                **(trial.facts.chosen if trial.facts else {}),
                **trial.settings,
            },
        )
        for trial in trials
        if _is_compared(trial)
    ]


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


def named_by_difference(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries named by the options that differ among them."""
    # One that failed may not have come to the options that its model chooses.
    specs = [entry.options for entry in entries if entry.history or entry.status != "failed"]
    known = list(dict.fromkeys(name for spec in specs for name in spec))
    differ = [
        name
        for name in known
        if name not in _NOT_TOLD and len({str(spec.get(name)) for spec in specs}) > 1
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


def _label(name: str, entry: Entry, value: Any) -> str:
    """Return the name that runs were given; settings that differ among them stand behind it."""
    several = entry.is_one_of_several or bool(entry.lacks)
    is_experiment = several and entry.label not in ("", "all runs")
    return f"{name}: {entry.label}" if is_experiment and not isinstance(value, Trial) else name


def _entries(name: str, value: Any) -> list[Entry]:
    if isinstance(value, Run):
        facts = Facts.of(value)
        options = {**_defaults(), **value.spec.model_dump(exclude_none=True), **facts.chosen}
        is_whole = value.status == "finished" or len(value.records) >= value.planned
        entry = _entry(name or value.name, value.records, facts, options)
        return [replace(entry, status="finished" if is_whole else "stopped")]
    if isinstance(value, Trial):
        return _with_options([value])
    if isinstance(value, str) and is_stored(value):
        return named_by_difference(_tracked(value))
    if isinstance(value, str | os.PathLike):
        return _in_folder(Path(value).expanduser())
    if isinstance(value, HasTrials):
        return _with_options(value.runs)
    if isinstance(value, Sequence):
        return [entry for each in value for entry in _entries(name, each)]
    raise OptionError(
        f"{type(value).__name__} can't be compared" + (f" as {name!r}" if name else ""),
        "give runs, experiments, lists of them, folders that run.export() wrote, or a tracker as "
        f"{option('log')} has it",
    )


def _entry(name: str, records: History, facts: Facts, options: Mapping[str, Any]) -> Entry:
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


def _defaults() -> dict[str, Any]:
    return {name: field.default for name, field in RunSpec.model_fields.items()}


def _in_folder(folder: Path) -> list[Entry]:
    """Return the runs in the folder of an experiment, or of an exported run."""
    if ExperimentFolder.is_one(folder):
        return _saved_entries(ExperimentFolder(folder))
    if not (folder / "card.json").exists() and (store := _store_in(folder)):
        return named_by_difference(_tracked(store))
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        if "experiment" in card:  # the report of one
            return _outcomes(card["experiment"], card["trials"])
        history = History(map(from_dict, card["history"]))
        shown = tuple(card["shown"])
        facts = Facts((str(shown[0]), str(shown[1])), str(card["monitor"]))
        options = {**_defaults(), **card["spec"], **card.get("chosen", {})}
        return [_entry(str(card["name"]), history, facts, options)]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise RunError(
            f"there is no exported run in {folder} ({type(error).__name__})",
            f"{_inside(folder)}give a folder that run.export() wrote, or that of an experiment",
        ) from None


def _inside(folder: Path) -> str:
    """Return the folders of exported runs inside of one, as the beginning of a hint, or ""."""
    found = [f"'{path.parent}'" for path in sorted(folder.glob("*/card.json"))[:3]]
    return f"did you mean {', '.join(found)}? " if found else ""


def is_stored(value: Any) -> bool:
    """Return whether a value names a tracker, as mlflow:uri=sqlite:///mlflow.db does."""
    if not isinstance(value, str) or os.path.exists(os.path.expanduser(value)):
        return False  # these, unlike those of Path, are false for what can be no name of a file
    return registry.parse(value)[0] in registry.names("trackers")


def _store_in(folder: Path) -> str:
    """Return the tracker that wrote to a folder, in the notation of `log`, or ""."""
    if has_events(folder):
        return f"tensorboard:folder={folder}"
    return f"wandb:folder={folder}" if any(folder.rglob("run-*.wandb")) else ""


def _tracked(text: str) -> list[Entry]:
    """Return the runs that trackers have kept."""
    found = [
        _of_stored(registry.parse(name)[0], run)
        for name, tracker in make(text).items()
        for run in tracker.stored()
        if run.rounds
    ]
    if not found:
        raise RunError(
            f"no run with a whole round is stored in {without_secrets(text)}",
            f"name the place that {option('log')} named, as tensorboard:folder=runs",
        )
    return found


def _of_stored(tracker: str, run: StoredRun) -> Entry:
    """Return a stored run; metrics that its tracker does not name are guessed by their names."""
    history = history_of(run)
    known = history.metrics()
    others = [name for name in known if "loss" not in name]
    monitor = run.tags.get("fusion_nb.monitor") or next(iter([*others, *known]), "loss")
    shown = run.tags.get("fusion_nb.shown", "").split(", ")
    first, second = shown if len(shown) == 2 else ("loss", monitor)
    facts = Facts((first, second), monitor, run.tags.get("fusion_nb.loss", ""))
    entry = _entry(run.name, history, facts, {**_defaults(), **options_of(run)})
    return replace(entry, lacks=f"{tracker} did not keep {', '.join(lacks_of(run, history))}")


def _saved_entries(folder: ExperimentFolder) -> list[Entry]:
    return _outcomes(folder.about()["spec"], folder.ended().values())


def _outcomes(spec: Mapping[str, Any], outcomes: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Return the runs of an experiment as files have them; pruned ones are left out.

    They are named by what varies, and by what differs besides: a folder may hold runs from before
    other options of all runs were changed.
    """
    kept = [outcome for outcome in outcomes if outcome["status"] != "pruned"]
    of_each = [{**_defaults(), **json.loads(outcome["key"])} for outcome in kept]
    vary = {name for name, value in spec.items() if isinstance(value, list) and name != "seeds"}
    told = [
        name
        for name in _defaults()
        if name in vary
        or (name not in _NOT_TOLD and len({str(options[name]) for options in of_each}) > 1)
    ]
    found = []
    for outcome, options in zip(kept, of_each, strict=True):
        label = outcome.get("label") or label_of({name: options[name] for name in told})
        facts = Facts.from_dict(outcome["facts"]) if outcome["facts"] else _NO_FACTS
        history = History(map(from_dict, outcome["history"]))
        entry = _entry(label or "all runs", history, facts, {**options, **facts.chosen})
        found.append(replace(entry, status=str(outcome["status"]), is_one_of_several=True))
    return found
