"""All that the chart in the browser knows of an experiment: its runs, and means over seeds."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fusion_nb.core.history import is_higher_better
from fusion_nb.notebook.chart.costs import COSTS, Costs, steps_in_order
from fusion_nb.notebook.chart.feed import head_of
from fusion_nb.reporting.templates import visible
from fusion_nb.runs.experiments import statistics
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.experiments.spec import BANDS
from fusion_nb.runs.experiments.trial import TRIAL_ENDED, Trial

#: Settings that are drawn while an experiment is under way, at most: more can't be told apart.
MAX_GROUPS = 36


class RunTable:
    """One run: the round, the costs so far and the metrics of each round."""

    def __init__(self, trial: Trial, metrics: Sequence[str]) -> None:
        self.trial, self._metrics = trial, metrics
        self.values = [array("d") for _ in metrics]
        self._first = 0  # of the rows that were not sent
        self._begin()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_out_of_date(self) -> bool:
        """Whether the run was begun anew."""
        return len(self.trial.records) < len(self._rows)

    @property
    def has_news(self) -> bool:
        """Whether there are rows that were not sent."""
        return self._first < len(self._rows)

    def update(self) -> range:
        """Take the rounds that are new, and return their indices."""
        before = len(self._rows)
        if self.trial.facts is not self._facts:
            self._begin()  # its gradient steps are known now
        for record in self.trial.records[len(self._rows) :]:
            found = [record.metrics.get(metric, math.nan) for metric in self._metrics]
            row = [float(record.round), *self._costs.add(record), *found]
            self._rows.append(array("f", row).tobytes())
            for column, value in zip(self.values, found, strict=True):
                column.append(value)
        return range(before, len(self._rows))

    def whole(self) -> bytes:
        """Return all rows."""
        return b"".join(self._rows)

    def take(self) -> tuple[int, int, bytes]:
        """Return the first row that was not sent, the number of rows, and their numbers."""
        first, self._first = self._first, len(self._rows)
        return first, len(self._rows) - first, b"".join(self._rows[first:])

    def _begin(self) -> None:
        self._facts, self._first = self.trial.facts, 0
        self._rows: list[bytes] = []
        self._costs = Costs(steps_in_order(self._facts.steps if self._facts else None))
        for column in self.values:
            del column[:]


class GroupTable:
    """The mean of one setting over its seeds, with its band, for each metric after each round.

    band: `std` or `bootstrap`
    """

    def __init__(self, num_metrics: int, band: str) -> None:
        self.runs: list[RunTable] = []
        self._num_metrics, self._band = num_metrics, band
        self._rows = np.zeros((0, 3 * num_metrics), "<f4")
        self._count = 0
        self._stale = self._unsent = range(0)

    def __len__(self) -> int:
        return max(self._count, self._stale.stop)

    def touch(self, rows: range) -> None:
        """Mark rows as out of date."""
        self._stale, self._unsent = _around(self._stale, rows), _around(self._unsent, rows)

    def whole(self) -> bytes:
        """Return all rows."""
        self._compute(self._stale)
        return self._rows[: self._count].tobytes()

    def take(self) -> tuple[int, int, bytes]:
        """Return the first row that was not sent, the number of rows, and their numbers."""
        self._compute(self._stale)
        sent, self._unsent = self._unsent, range(0)
        return sent.start, len(sent), self._rows[sent.start : sent.stop].tobytes()

    def _compute(self, stale: range) -> None:
        if stale.stop > len(self._rows):
            room = np.full((2 * stale.stop, self._rows.shape[1]), math.nan, "<f4")
            room[: self._count] = self._rows[: self._count]
            self._rows = room
        self._count, self._stale = max(self._count, stale.stop), range(0)
        for panel in range(self._num_metrics):
            values = np.full((len(stale), len(self.runs)), math.nan)
            for place, run in enumerate(self.runs):
                found = run.values[panel][stale.start : stale.stop]
                values[: len(found), place] = found
            spreads = statistics.spreads(values, self._band)
            with np.errstate(over="ignore"):  # the browser draws no infinite number
                self._rows[stale.start : stale.stop, 3 * panel : 3 * panel + 3] = spreads


class ExperimentFeed:
    """The settings of an experiment, each as a mean with its band, and their runs.

    next_epoch: returns a number that is higher than the one before: numbers begin anew where a
                run is left out or trained again
    """

    def __init__(self, made: Experiment, next_epoch: Callable[[], int]) -> None:
        self._made, self._next_epoch = made, next_epoch
        self.epoch, self.version = next_epoch(), 0
        self._groups: dict[str, GroupTable] = {}
        self._runs: dict[int, RunTable] = {}
        #: All tables, each with its setting, and the seed or None for the mean.
        self._tables: list[tuple[dict[str, Any], RunTable | GroupTable]] = []
        self._num_told = self._num_left = 0
        self.update()

    def update(self) -> None:
        """Take the rounds that are new."""
        trials, self._num_left = _chosen(self._made)
        kept = {trial.point.number: trial for trial in trials}
        if any(kept.get(n) is not run.trial or run.is_out_of_date for n, run in self._runs.items()):
            self.epoch, self.version, self._num_told = self._next_epoch(), 0, 0
            self._groups, self._runs, self._tables = {}, {}, []
        for trial in trials:
            rows = self._table_of(trial).update()
            self._groups[trial.point.label].touch(rows)

    def has_news(self, since: int) -> bool:
        """Return whether a run has rows that were not sent, or sent otherwise."""
        return any(run.has_news for run in self._runs.values())

    def head(self) -> dict[str, Any]:
        """Return all that is known besides the numbers."""
        made, spec = self._made, self._made.spec
        return head_of(f"curves of {made.name}", made.metrics) | {
            "epoch": self.epoch,
            "seq": self.version,
            "band": BANDS[spec.band] if len(spec.seeds) > 1 else "",
            "costs": list(COSTS),
            "planned": spec.first().rounds,
            "left": self._num_left,
            "tables": [about for about, _ in self._tables],
            "counts": [len(table) for _, table in self._tables],
        }

    def whole(self) -> bytes:
        """Return all numbers, table by table."""
        return b"".join(table.whole() for _, table in self._tables)

    def news(self, since: int) -> tuple[dict[str, Any], bytes]:
        """Return what is new since the last time."""
        self.version += 1
        taken = [table.take() for _, table in self._tables]
        message = {
            "type": "parts",
            "seq": self.version,
            "first": self._num_told,
            "tables": [about for about, _ in self._tables[self._num_told :]],
            "parts": [[i, first, count] for i, (first, count, _) in enumerate(taken) if count],
            "head": {"left": self._num_left},
        }
        self._num_told = len(self._tables)
        return message, b"".join(numbers for _, _, numbers in taken)

    def _table_of(self, trial: Trial) -> RunTable:
        """Return the table of a trial, which is made with its group's where there is none."""
        number, label = trial.point.number, trial.point.label
        if number not in self._runs:
            about = {"group": visible(label) or "mean of all runs"}
            if label not in self._groups:
                group = self._groups[label] = GroupTable(
                    len(self._made.metrics), self._made.spec.band
                )
                self._tables.append((about, group))
            run = self._runs[number] = RunTable(trial, self._made.metrics)
            self._groups[label].runs.append(run)
            self._tables.append((about | {"run": f"seed {trial.seed}"}, run))
        return self._runs[number]


def _around(rows: range, more: range) -> range:
    """Return the smallest range that holds two."""
    if not (rows and more):
        return rows or more
    return range(min(rows.start, more.start), max(rows.stop, more.stop))


def _chosen(made: Experiment) -> tuple[list[Trial], int]:
    """Return the trials that are drawn, and the number of settings that are not.

    Of too many settings those under way and the best are.
    """
    trials = [t for t in made.runs if t.facts and t.records and t.status != "failed"]
    ranks: dict[str, float] = {}
    sign = 1 if is_higher_better(made.monitor) else -1
    for trial in trials:
        is_over = trial.status in TRIAL_ENDED
        rank = sign * trial.value(made.monitor) if is_over else math.inf
        ranks[trial.point.label] = max(
            ranks.get(trial.point.label, -math.inf), -math.inf if math.isnan(rank) else rank
        )
    labels = list(ranks)
    if len(labels) > MAX_GROUPS:
        labels = sorted(labels, key=lambda label: -ranks[label])[:MAX_GROUPS]
    return [t for t in trials if t.point.label in labels], len(ranks) - len(labels)
