"""Settings compared over seeds: means, costs, rounds to a target, and paired tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any

from fusion_nb.core.history import History, is_higher_better
from fusion_nb.errors import OptionError, RunError, nearest
from fusion_nb.reporting.charts import Chart
from fusion_nb.reporting.charts.bands import Curve, bands
from fusion_nb.reporting.experiments import paper
from fusion_nb.reporting.experiments.leaderboard import Leaderboard
from fusion_nb.runs.experiments import statistics
from fusion_nb.runs.experiments.comparing import costs, findings, paired
from fusion_nb.runs.experiments.comparing.costs import AXES
from fusion_nb.runs.experiments.comparing.entries import Entry, doubts
from fusion_nb.runs.experiments.comparing.gathering import entries_in
from fusion_nb.runs.experiments.comparing.paired import PairedTest
from fusion_nb.runs.experiments.spec import BANDS
from fusion_nb.runs.experiments.statistics import Spread

if TYPE_CHECKING:
    import pandas as pd


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
        self._entries = [entry for entry in entries if entry.status != "failed"]
        self._failed = [entry for entry in entries if entry.status == "failed"]
        if not self._entries:
            raise RunError("there is no run with a whole round to compare", "train one first")
        self.metric = metric or self._entries[0].monitor
        self.target, self.band = target, band
        if band not in BANDS:
            raise OptionError(f"band={band!r} is not allowed", f"there are: {', '.join(BANDS)}")
        known = list(dict.fromkeys(m for e in self._entries for m in e.history.metrics()))
        if self.metric not in known:
            raise OptionError(
                f"no run has the metric {self.metric!r}",
                f"{nearest(self.metric, known)}there are: {', '.join(known)}",
            )
        if target is not None and not _is_number(target):
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
            label: statistics.spread([e.last(self.metric) for e in group], self.band)
            for label, group in self.groups.items()
        }

    @cached_property
    def tests(self) -> list[PairedTest]:
        """The best setting against each of the others."""
        settings = {
            label: paired.by_seed([(entry.seed, entry.last(self.metric)) for entry in group])
            for label, group in self.groups.items()
        }
        sign = 1 if is_higher_better(self.metric) else -1
        return paired.against_best(settings, self.order, sign)

    @property
    def winner(self) -> str:
        """The setting that the tests tell to be better than every other one, or "".

        It has a value of each of its runs: one that diverged under a seed is not the best. And
        experiments have ended: runs that go on may still be better.
        """
        if any(e.is_one_of_several and e.status != "finished" for e in self._entries):
            return ""
        best = self.order[0]
        is_whole = all(math.isfinite(entry.last(self.metric)) for entry in self.groups[best])
        is_told = bool(self.tests) and all(test.tells_best for test in self.tests)
        return best if is_whole and is_told else ""

    @property
    def notes(self) -> list[str]:
        """Sentences about the tests and their limits."""
        kind = f"{self.metric} after the last round: {BANDS[self.band]}"
        counts = _counts([len(group) for group in self.groups.values()])
        return [
            f"{kind}, over {counts}",
            *findings.about_monitors(self.groups, self.metric),
            *findings.about_band(self.band, min(map(len, self.groups.values()))),
            *findings.about_runs(self.groups, self._failed, self.metric),
            *doubts(self._entries),
            *findings.about_tests(
                self.tests, self.winner, most_runs=max(map(len, self.groups.values()))
            ),
        ]

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
                "rounds": costs.mean([len(e.history) for e in group]),
                "bytes": costs.mean([costs.total(e, "bytes") for e in group]),
                "steps": costs.mean([costs.total(e, "steps") for e in group]),
                "seconds": costs.mean([costs.total(e, "seconds") for e in group]),
            }
            if any("epsilon" in e.history.metrics() for e in group):
                row["epsilon"] = costs.mean([costs.total(e, "epsilon") for e in group])
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
            places = costs.mean_places(group, against)
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
        return Leaderboard(self.metric, self.rows(), self.target, self.winner, self.band)

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
        found = [entry.history.reached(self.metric, self.target) for entry in group]
        rounds = [float(record.round) for record in found if record is not None]
        reached = statistics.spread(rounds, "bootstrap")
        return {
            "rounds_to_target": reached.mean,
            "rounds_low": reached.low,
            "rounds_high": reached.high,
            "reached": reached.n,
        }


def compare(
    runs: Any, *others: Any, metric: str = "", target: float | None = None, band: str = "std"
) -> Comparison:
    """Compare any runs: those of this notebook, of experiments, of folders and of trackers.

    runs:   a dict of names and runs, experiments, lists of runs that differ in their seeds, or
            folders that `run.export()` wrote; trackers, as `mlflow:uri=sqlite:///mlflow.db`,
            `tensorboard:folder=runs` or `wandb:folder=.`, with all runs in them; or a list, which
            is named by what differs in it
    others: more of these; compare(a, b) is compare([a, b])
    metric: by default the monitored one;  target: rounds until it is reached are told too
    band:   std, or bootstrap: the 95 % interval of the mean
    """
    entries = entries_in([runs, *others] if others else runs)
    return Comparison(entries, metric=metric, target=target, band=band)


def _at(history: History, metric: str, index: int) -> float:
    return history[index].metrics.get(metric, math.nan) if index < len(history) else math.nan


def _counts(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    word = "seed" if high == 1 else "seeds"
    return f"{low} {word}" if low == high else f"{low} to {high} {word}"


def _is_number(value: Any) -> bool:
    """Return whether a value is a number, one of numpy's too, and none of NaN, True and False."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    return is_number and not math.isnan(value)
