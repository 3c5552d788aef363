"""Writes the report of an experiment: what a reviewer gets."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from fusion_nb.core.files import storage
from fusion_nb.core.process.machine import num_cores
from fusion_nb.errors import RunError
from fusion_nb.reporting import card, export
from fusion_nb.reporting.charts import Chart
from fusion_nb.reporting.experiments import paper
from fusion_nb.reporting.experiments.leaderboard import short
from fusion_nb.reporting.experiments.report_page import ReportContent
from fusion_nb.reporting.picture_file import unwritten
from fusion_nb.runs.experiments.comparing.comparison import Comparison
from fusion_nb.runs.experiments.comparing.costs import AXES
from fusion_nb.runs.experiments.spec import ExperimentSpec
from fusion_nb.runs.experiments.trial import Trial
from fusion_nb.runs.experiments.trials import Trials

#: Settings whose cards are in the page, at most: the best.
_MAX_CARDS = 50
#: Settings whose charts of parties are in the page, at most, and the words that name these charts.
_MAX_PARTY_CHARTS = 4
_PARTY_CHARTS = {
    "parties": "what each party contributes, and parties that never trained",
    "cross_site": "each party's model on each party's rows",
}


class Reported(Protocol):
    """An experiment, as a report sees it; see `Experiment`."""

    spec: ExperimentSpec
    name: str
    monitor: str
    metrics: tuple[str, str]

    @property
    def notes(self) -> list[str]:
        """Sentences about what varies, and warnings."""

    @property
    def runs(self) -> list[Trial]:
        """Its runs, in order."""

    @property
    def has_rounds(self) -> bool:
        """Whether there is something to tell."""

    def headline(self) -> str:
        """Return the experiment in one line."""

    def failed(self) -> list[str]:
        """Return a line for each run that failed."""

    def plot(self, against: str = ..., *, kind: str = ...) -> Chart:
        """Return a chart."""

    def compare(self) -> Comparison:
        """Return its settings compared."""


def write_report(made: Reported, path: str | Path, *, overwrite: bool) -> list[Path]:
    """Write the folder of a report, whole or not at all, and return its files.

    Raises ExportError for a folder that can't be written, RunError without a whole round.
    """
    if not made.has_rounds:
        raise RunError(f"no run of {made.name} has a whole round yet", "train it first")
    folder = export.check_target(str(path), (), (), overwrite)
    comparison = made.compare()
    content = _content(made, comparison)
    texts: dict[str, Callable[[], str]] = {
        "report.html": content.html,
        "report.ipynb": content.notebook,
        "experiment.yaml": made.spec.to_yaml,
        "table.md": comparison.to_markdown,
        "table.tex": comparison.to_latex,
        "table.csv": comparison.to_csv,
        "runs.csv": lambda: paper.csv_text(Trials(made.runs).rows()),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with storage.draft_folder(folder.parent, prefix=f".{folder.name}.") as draft:
            digests = {}
            for name, text in texts.items():
                data = text().encode("utf-8", "backslashreplace")
                (draft / name).write_bytes(data)
                digests[name] = hashlib.sha256(data).hexdigest()
            about = _about(made, content.origin, digests)
            (draft / "card.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
            storage.place_folder(draft, folder, replace=overwrite, mode=0o755)
    except OSError as error:
        raise unwritten(str(path), error) from error
    return sorted(folder.iterdir())


def _about(made: Reported, origin: Mapping[str, str], files: Mapping[str, str]) -> dict[str, Any]:
    """Return the report for programs; `fusion_nb.compare` reads it."""
    return {
        "name": made.name,
        "created": origin["created"],
        "versions": origin["versions"],
        "platform": origin["machine"],
        "experiment": made.spec.to_dict(),
        "trials": [
            trial.to_dict() for trial in made.runs if trial.records or trial.status == "failed"
        ],
        "files": dict(files),
    }


def _content(made: Reported, comparison: Comparison) -> ReportContent:
    packages = next((t.facts.packages for t in made.runs if t.facts), ())
    versions = ", ".join(f"{name} {number}" for name, number in card.versions(packages).items())
    return ReportContent(
        title=made.name,
        headline=made.headline(),
        notes=[*made.notes, *_costs_of_contributions(made)],
        board=comparison.leaderboard(),
        tests=comparison.notes,
        charts=_charts(made, comparison) | _party_charts(made, comparison),
        runs=_runs_table(made),
        failed=made.failed(),
        cell=made.spec.to_text(),
        yaml=made.spec.to_yaml(),
        cards=_cards(made, comparison),
        origin={
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions,
            "machine": f"{platform.platform()}, {num_cores()} cores",
        },
    )


def _charts(made: Reported, comparison: Comparison) -> dict[str, Chart]:
    """Return the charts that the experiment has, by their captions."""
    metric = made.metrics[-1]
    found = {f"{' and '.join(made.metrics)} after each round": made.plot()}
    for against in ("bytes", "steps", "seconds", "epsilon"):
        try:
            found[f"Against {AXES[against]}"] = made.plot(against)
        except RunError:  # no run has this cost
            continue
    if len(comparison.groups) > 1:
        found[f"{metric} of each setting, the others in grey"] = made.plot(kind="multiples")
    return found


def _party_charts(made: Reported, comparison: Comparison) -> dict[str, Chart]:
    """Return the charts of what parties contribute in the first run of each setting, by captions.

    They stand in the order of the settings, the best first, and are of the first few of these.
    """
    first = _first_of_settings(made, comparison)
    measured = [
        (trial, trial.facts.contributions)
        for trial in first.values()
        if trial.facts and trial.facts.contributions
    ]
    return {
        f"{trial.name}: {_PARTY_CHARTS[name]}": chart
        for trial, found in measured[:_MAX_PARTY_CHARTS]
        for name, chart in found.charts().items()
    }


def _costs_of_contributions(made: Reported) -> list[str]:
    """Return a sentence about the trainings that contributions took in all runs, if any did."""
    found = [t.facts.contributions for t in made.runs if t.facts and t.facts.contributions]
    count = sum(each.num_trainings for each in found)
    if not count:
        return []
    return [f"contributions of parties took {count} further trainings, over {len(found)} runs"]


def _runs_table(made: Reported) -> list[list[str]]:
    metric = made.monitor
    head = ["run", "seed", "status", "rounds", metric, "seconds", "first weights", "reason"]
    rows = [
        [
            trial.point.label or "all runs",
            str(trial.seed),
            trial.status,
            str(len(trial.records)),
            short(trial.value(metric)) if trial.records else "–",
            short(trial.seconds) if trial.records else "–",
            trial.facts.initial_sha256[:12] if trial.facts else "–",
            trial.reason or "–",
        ]
        for trial in made.runs
    ]
    return [head, *rows]


def _cards(made: Reported, comparison: Comparison) -> dict[str, str]:
    """Return a card for each setting, the best first: how its first run came to be."""
    first = list(_first_of_settings(made, comparison).items())
    return {label: _card_text(trial, made.monitor) for label, trial in first[:_MAX_CARDS]}


def _first_of_settings(made: Reported, comparison: Comparison) -> dict[str, Trial]:
    """Return the first run of each setting, the best setting first."""
    first: dict[str, Trial] = {}
    for trial in made.runs:
        if trial.facts:
            first.setdefault(trial.point.label or "all runs", trial)
    return {label: first[label] for label in comparison.order if label in first}


def _card_text(trial: Trial, monitor: str) -> str:
    assert trial.facts is not None
    facts = trial.facts
    lines = [f"{trial!r}", *facts.notes]
    lines += [f"{name}: {value}" for name, value in facts.chosen.items()]
    best = trial.records.best(monitor)
    if best is not None:
        lines.append(f"best {monitor} {best.metrics[monitor]:.4g} in round {best.round}")
    last = ", ".join(f"{name} {value:.4g}" for name, value in trial.records.last().items())
    lines += [f"last round: {last}", f"first weights: sha256 {facts.initial_sha256}"]
    return "\n".join([*lines, "", facts.cell])
