"""Settings compared over seeds: means, costs, rounds to a target, and paired tests."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fusion_nb.core.history import History, better, is_higher_better
from fusion_nb.errors import OptionError, RunError, nearest
from fusion_nb.reporting.charts import Chart
from fusion_nb.reporting.charts.bands import Curve, bands
from fusion_nb.reporting.experiments import paper
from fusion_nb.reporting.experiments.leaderboard import Leaderboard
from fusion_nb.runs.experiments import statistics
from fusion_nb.runs.experiments.entries import Entry, doubts, entries_in
from fusion_nb.runs.experiments.spec import BANDS
from fusion_nb.runs.experiments.statistics import ALPHA, FEW_PAIRS, Spread

if TYPE_CHECKING:
    import pandas as pd

#: The quantity that curves are drawn against -> the label of the axis.
AXES = {
    "round": "round",
    "bytes": "MB sent, up and down",
    "steps": "gradient steps of all parties",
    "seconds": "seconds",
    "epsilon": "epsilon",
}


@dataclass(frozen=True)
class PairedTest:
    """A paired test of the best setting against another one, over the seeds that both have.

    p: two-sided, of Wilcoxon's signed-rank test;  adjusted: for the number of tests, by Holm
    n: pairs that differ
    """

    best: str
    other: str
    p: float
    adjusted: float
    n: int


class Comparison:
    """Settings compared over their seeds, by the last value of a metric.

    entries: the runs;  metric: what is compared, by default the monitored one
    target:  rounds until it is reached are told too;  band: `std` or `bootstrap`

    A notebook shows it as a chart, a table and sentences; `to_markdown`, `to_latex` and `to_csv`
    are tables for a paper. Raises OptionError for a metric that no run has.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        metric: str = "",
        target: float | None = None,
        band: str = "std",
    ) -> None:
        if not entries:
            raise RunError("there is no run with a whole round to compare", "train one first")
        self._entries = list(entries)
        self.metric = metric or entries[0].monitor
        self.target, self.band = target, band
        if band not in BANDS:
            raise OptionError(f"band={band!r} is not allowed", f"there are: {', '.join(BANDS)}")
        known = list(dict.fromkeys(m for e in entries for m in e.history.metrics()))
        if self.metric not in known:
            raise OptionError(
                f"no run has the metric {self.metric!r}",
                f"{nearest(self.metric, known)}there are: {', '.join(known)}",
            )
        if target is not None and not isinstance(target, int | float):
            raise OptionError(f"target={target!r} is not a number", "give one, as 0.9")

    @cached_property
    def groups(self) -> dict[str, list[Entry]]:
        """The runs of each setting, in order of their first appearance."""
        found: dict[str, list[Entry]] = {}
        for entry in self._entries:
            found.setdefault(entry.label, []).append(entry)
        return found

    @property
    def order(self) -> list[str]:
        """The settings, the best mean first."""
        means = {label: spread.mean for label, spread in self.finals.items()}
        sign = -1 if is_higher_better(self.metric) else 1
        return sorted(means, key=lambda label: (math.isnan(means[label]), sign * means[label]))

    @cached_property
    def finals(self) -> dict[str, Spread]:
        """The mean and spread of the metric's last value, by setting."""
        return {
            label: statistics.spread([_last(e, self.metric) for e in group], self.band)
            for label, group in self.groups.items()
        }

    @cached_property
    def tests(self) -> list[PairedTest]:
        """The best setting against each of the others."""
        best, *others = self.order
        of_best = {entry.seed: _last(entry, self.metric) for entry in self.groups[best]}
        found = []
        for other in others:
            of_other = {entry.seed: _last(entry, self.metric) for entry in self.groups[other]}
            pairs = [of_best[seed] - of_other[seed] for seed in of_best if seed in of_other]
            found.append((other, *statistics.wilcoxon(pairs)))
        adjusted = statistics.holm([p for _, p, _ in found])
        return [
            PairedTest(best, other, p, p_adjusted, n)
            for (other, p, n), p_adjusted in zip(found, adjusted, strict=True)
        ]

    @property
    def winner(self) -> str:
        """The setting that the tests tell to be better than every other one, or ""."""
        if not self.tests or any(test.adjusted >= ALPHA for test in self.tests):
            return ""
        return self.order[0]

    @property
    def notes(self) -> list[str]:
        """Sentences about the tests and their limits."""
        kind = f"{self.metric} after the last round: {BANDS[self.band]}"
        notes = [f"{kind}, over {_counts([len(group) for group in self.groups.values()])}"]
        losses = {entry.loss_name for entry in self._entries if entry.loss_name}
        if len(losses) > 1 and "loss" in self.metric:
            notes.append("warning: the losses are not the same, and can't be compared")
        notes += doubts(self._entries)
        uneven = [
            label
            for label, group in self.groups.items()
            if len({len(entry.history) for entry in group}) > 1
        ]
        if uneven:
            notes.append(
                f"warning: the runs of {uneven[0]} do not have the same number of rounds: the "
                "later part of its curve is a mean over those that went on"
            )
        if not self.tests:
            return notes
        n = min(test.n for test in self.tests)
        best = self.order[0]
        word = "other setting" if len(self.tests) == 1 else "other settings"
        needed = statistics.pairs_needed(len(self.tests))
        enough = (
            f"at least {needed} seeds can tell the best from {len(self.tests)} {word} with "
            f"p < {ALPHA}"
        )
        if all(len(group) == 1 for group in self.groups.values()):
            notes.append(f"warning: with one run of each, chance may decide the order: {enough}")
            return notes
        told = "better than every other" if self.winner else "not told apart from every other"
        highest = max(self.tests, key=lambda test: test.adjusted)
        notes.append(
            f"{best} is {told} by Wilcoxon's signed-rank test over seeds (highest p "
            f"{highest.adjusted:.3g} against {highest.other}, adjusted by Holm, n = {highest.n})"
        )
        if n == 0:
            other = next(test.other for test in self.tests if test.n == 0)
            notes.append(f"warning: no seed of both tells {best} from {other}: nothing is tested")
        elif n < FEW_PAIRS:
            pairs = "pair that differs is" if n == 1 else "pairs that differ are"
            notes.append(
                f"warning: {n} {pairs} few: p can't be below {statistics.smallest_p(n):.3g}"
            )
        if n < needed and not self.winner:
            notes.append(enough)
        return notes

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each setting, the best first: values, costs, rounds to the target."""
        found = []
        tests = {test.other: test for test in self.tests}
        for label in self.order:
            group, final = self.groups[label], self.finals[label]
            row: dict[str, Any] = {
                "setting": label,
                "runs": len(group),
                "mean": final.mean,
                "std": final.std,
                "low": final.low,
                "high": final.high,
                "rounds": _mean([len(e.history) for e in group]),
                "bytes": _mean([_total(e, "bytes") for e in group]),
                "steps": _mean([_total(e, "steps") for e in group]),
                "seconds": _mean([_total(e, "seconds") for e in group]),
            }
            if any("epsilon" in e.history.metrics() for e in group):
                row["epsilon"] = _mean([_total(e, "epsilon") for e in group])
            if self.target is not None:
                row |= self._to_target(group)
            if label in tests:
                row |= {"p": tests[label].adjusted, "n": tests[label].n}
            found.append(row)
        return found

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row for each setting, the best first."""
        import pandas as pd

        return pd.DataFrame(self.rows()).set_index("setting")

    def curves(self, metrics: Sequence[str], against: str = "round") -> list[Curve]:
        """Return the mean of each metric after each round, against rounds or a cost.

        Against a cost, each round stands at its mean cost so far over the seeds.
        """
        if against not in AXES:
            raise OptionError(
                f"against={against!r} is not allowed", f"there are: {', '.join(AXES)}"
            )
        curves = []
        for label, group in self.groups.items():
            num_rounds = max(len(entry.history) for entry in group)
            costs = [_costs(entry, against) for entry in group]
            places = [_mean([c[i] for c in costs if i < len(c)]) for i in range(num_rounds)]
            if all(math.isnan(place) for place in places):
                continue
            spreads = {
                metric: [
                    statistics.spread([_at(e.history, metric, i) for e in group], self.band)
                    for i in range(num_rounds)
                ]
                for metric in metrics
            }
            curves.append(
                Curve(
                    label,
                    len(group),
                    places,
                    {m: [(s.mean, s.low, s.high) for s in found] for m, found in spreads.items()},
                )
            )
        if not curves:
            raise RunError(
                f"no run has {against} to draw against", "choose round, bytes or seconds"
            )
        return curves

    def plot(self, against: str = "round") -> Chart:
        """Return the curves of all settings. against: round, bytes, steps, seconds or epsilon."""
        metrics = self._entries[0].metrics
        shown = metrics if self.metric in metrics else (metrics[0], self.metric)
        return bands(self.curves(shown, against), shown, AXES[against], BANDS[self.band])

    def leaderboard(self) -> Leaderboard:
        """Return the settings as a table, the best first."""
        return Leaderboard(self.metric, self.rows(), self.target, self.winner)

    def to_markdown(self) -> str:
        """Return a table for a paper as Markdown: mean and standard deviation."""
        return paper.markdown(self.leaderboard(), self.notes)

    def to_latex(self) -> str:
        """Return a table for a paper as LaTeX, for the package booktabs."""
        return paper.latex(self.leaderboard(), self.notes)

    def to_csv(self) -> str:
        """Return all numbers as CSV."""
        return paper.csv_text(self.rows())

    def __repr__(self) -> str:
        return "\n".join([str(self.leaderboard()), *self.notes])

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        from fusion_nb.reporting.experiments.page import output

        return output("", self.notes, self.plot(), self.leaderboard(), [], text=repr(self))

    def _to_target(self, group: Sequence[Entry]) -> dict[str, Any]:
        """Return the rounds until the target, over the seeds that reached it, with an interval."""
        assert self.target is not None
        found = [_first_round(entry.history, self.metric, self.target) for entry in group]
        reached = statistics.spread(found, "bootstrap")
        return {
            "rounds_to_target": reached.mean,
            "rounds_low": reached.low,
            "rounds_high": reached.high,
            "reached": reached.n,
        }


def compare(
    runs: Any, *, metric: str = "", target: float | None = None, band: str = "std"
) -> Comparison:
    """Compare any runs: those of this notebook, of experiments, of folders and of trackers.

    runs:   a dict of names and runs, experiments, lists of runs that differ in their seeds, or
            folders that `run.export()` wrote; trackers, as `mlflow:uri=sqlite:///mlflow.db`,
            `tensorboard:folder=runs` or `wandb:folder=.`, with all runs in them; or a list, which
            is named by what differs in it
    metric: by default the monitored one;  target: rounds until it is reached are told too
    band:   std, or bootstrap: the 95 % interval of the mean
    """
    return Comparison(entries_in(runs), metric=metric, target=target, band=band)


def _last(entry: Entry, metric: str) -> float:
    return entry.history.last().get(metric, math.nan)


def _at(history: History, metric: str, index: int) -> float:
    return history[index].metrics.get(metric, math.nan) if index < len(history) else math.nan


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _total(entry: Entry, cost: str) -> float:
    return next(reversed(_costs(entry, cost)), math.nan)


def _costs(entry: Entry, cost: str) -> list[float]:
    """Return a cost until the end of each round; NaN where it is not known."""
    history = entry.history
    known: dict[str, Callable[[], Sequence[float]]] = {
        "round": lambda: [record.round for record in history],
        "bytes": lambda: [count / 1e6 for count in history.bytes_sent()],
        "steps": lambda: list(itertools.accumulate(entry.steps or ())),
        "seconds": lambda: list(itertools.accumulate(record.seconds for record in history)),
        "epsilon": lambda: history["epsilon"] if "epsilon" in history.metrics() else [],
    }
    return list(known[cost]()) or [math.nan] * len(history)


def _first_round(history: History, metric: str, target: float) -> float:
    """Return the first round that reaches a target, or NaN."""
    for record in history:
        value = record.metrics.get(metric, math.nan)
        if value == target or (better(metric, value, target) and not math.isnan(value)):
            return float(record.round)
    return math.nan


def _counts(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    word = "seed" if high == 1 else "seeds"
    return f"{low} {word}" if low == high else f"{low} to {high} {word}"
