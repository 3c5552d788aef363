"""Runs that folders and trackers hold, in the form in which they are compared."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.history import History, from_dict
from fusion_nb.core.protocols.tracker import StoredRun
from fusion_nb.errors import RunError, option
from fusion_nb.runs.experiments.comparing.entries import (
    NO_FACTS,
    NOT_TOLD,
    Entry,
    defaults,
    entry_of,
    named_by_difference,
)
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.trial import Facts
from fusion_nb.runs.experiments.varying import label_of
from fusion_nb.runs.redaction import without_secrets
from fusion_nb.runs.trackers.event_reading import has_events
from fusion_nb.runs.trackers.option import make
from fusion_nb.runs.trackers.rounds_read import history_of, lacks_of, options_of


def in_folder(folder: Path) -> list[Entry]:
    """Return the runs in the folder of an experiment, or of an exported run."""
    if ExperimentFolder.is_one(folder):
        return _saved_entries(ExperimentFolder(folder))
    if not (folder / "card.json").exists() and (store := _store_in(folder)):
        return named_by_difference(tracked(store))
    try:
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        if "experiment" in card:  # the report of one
            return _outcomes(card["experiment"], card["trials"])
        history = History(map(from_dict, card["history"]))
        shown = tuple(card["shown"])
        facts = Facts((str(shown[0]), str(shown[1])), str(card["monitor"]))
        options = {**defaults(), **card["spec"], **card.get("chosen", {})}
        return [entry_of(str(card["name"]), history, facts, options)]
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


def tracked(text: str) -> list[Entry]:
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
    entry = entry_of(run.name, history, facts, {**defaults(), **options_of(run)})
    return replace(entry, lacks=f"{tracker} did not keep {', '.join(lacks_of(run, history))}")


def _saved_entries(folder: ExperimentFolder) -> list[Entry]:
    return _outcomes(folder.about()["spec"], folder.ended().values())


def _outcomes(spec: Mapping[str, Any], outcomes: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Return the runs of an experiment as files have them; pruned ones are left out.

    They are named by what varies, and by what differs besides: a folder may hold runs from before
    other options of all runs were changed.
    """
    kept = [outcome for outcome in outcomes if outcome["status"] != "pruned"]
    of_each = [{**defaults(), **json.loads(outcome["key"])} for outcome in kept]
    vary = {name for name, value in spec.items() if isinstance(value, list) and name != "seeds"}
    told = [
        name
        for name in defaults()
        if name in vary
        or (name not in NOT_TOLD and len({str(options[name]) for options in of_each}) > 1)
    ]
    found = []
    for outcome, options in zip(kept, of_each, strict=True):
        label = outcome.get("label") or label_of({name: options[name] for name in told})
        facts = Facts.from_dict(outcome["facts"]) if outcome["facts"] else NO_FACTS
        history = History(map(from_dict, outcome["history"]))
        entry = entry_of(label or "all runs", history, facts, {**options, **facts.chosen})
        found.append(replace(entry, status=str(outcome["status"]), is_one_of_several=True))
    return found
