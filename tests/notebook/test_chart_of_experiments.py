"""The chart widget of an experiment, without a browser: means, bands, runs, and what is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fusion_nb.notebook.chart import RunChart
from fusion_nb.runs.experiments import calls, statistics
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.experiments.spec import ExperimentSpec


class Page:
    """The other side of a widget: a table for each run and for each setting's mean."""

    def __init__(self, chart: RunChart) -> None:
        self.chart, self.messages, self.wholes = chart, 0, 0
        chart.send, chart.send_state = self.hear, self.take_state  # as a comm would

    def take_state(self, keys: Any = None) -> None:
        state = self.chart.get_state(keys)
        self.wholes += 1
        self.head, at = state["head"], 0
        self.tables: list[dict[str, Any]] = []
        self.add(self.head["tables"])
        numbers = np.frombuffer(state["rows"], "<f4")
        for table, count in zip(self.tables, self.head["counts"], strict=True):
            width = self.width(table)
            table["rows"] = numbers[at : at + count * width].reshape(count, width).copy()
            at += count * width
        assert at == len(numbers)
        self.seq = self.head["seq"]

    def add(self, found: list[dict[str, Any]]) -> None:
        self.tables += [{**about, "rows": np.zeros((0, self.width(about)))} for about in found]

    def width(self, about: dict[str, Any]) -> int:
        num = len(self.head["metrics"])
        return 1 + len(self.head["costs"]) + num if "run" in about else 3 * num

    def hear(self, message: dict[str, Any], buffers: list[bytes]) -> None:
        assert (message["type"], message["seq"]) == ("parts", self.seq + 1)
        assert message["epoch"] == self.head["epoch"]
        self.messages, self.seq = self.messages + 1, message["seq"]
        self.add(message["tables"][len(self.tables) - message["first"] :])
        numbers, at = np.frombuffer(buffers[0], "<f4"), 0
        for place, first, count in message["parts"]:
            rows, width = self.tables[place]["rows"], self.width(self.tables[place])
            part = numbers[at : at + count * width].reshape(count, width)
            at += count * width
            self.tables[place]["rows"] = np.concatenate([rows[:first], part, rows[first + count :]])
        assert at == len(numbers)

    def mean(self, group: str) -> np.ndarray:
        """The rows (mean, low, high of each metric) of a setting."""
        (found,) = (t["rows"] for t in self.tables if t["group"] == group and "run" not in t)
        return found

    def runs(self, group: str) -> dict[str, np.ndarray]:
        return {t["run"]: t["rows"] for t in self.tables if t["group"] == group and "run" in t}


@pytest.fixture
def chart() -> Iterator[RunChart]:
    made = RunChart(lambda: 0.0)
    yield made
    made.close_all()
    calls.EXPERIMENTS.clear()


@pytest.fixture
def variables(net: Any, rows: Any) -> dict[str, Any]:
    return {"model": net(), "rows": rows}


def followed(chart: RunChart, variables: dict[str, Any], **options: Any) -> tuple[Experiment, Page]:
    given = {"model": "model", "data": "rows", "rounds": 4, "lr": 0.1, **options}
    made = Experiment(ExperimentSpec.of(given), variables)
    page = Page(chart)
    chart.follow_experiment(made)
    made.subscribe(lambda _: chart.send_new())
    made.start().wait()
    return made, page


@pytest.mark.parametrize("band", ["std", "bootstrap"])
def test_means_and_bands_are_those_of_the_comparison(
    chart: RunChart, variables: dict[str, Any], band: str
) -> None:
    made, page = followed(chart, variables, seeds="0-3", band=band)
    (curve,) = made.compare().curves(made.metrics)
    found = page.mean("mean of all runs")
    for panel, metric in enumerate(made.metrics):
        assert found[:, 3 * panel : 3 * panel + 3] == pytest.approx(
            np.array(curve.values[metric]), rel=1e-5
        )
    assert "mean" in page.head["band"]
    assert page.messages >= 16, "every round of every run was sent"
    assert page.wholes == 1, "and nothing anew"


def test_each_setting_has_its_runs_with_their_costs(
    chart: RunChart, variables: dict[str, Any]
) -> None:
    made, page = followed(chart, variables, fusion="fedavg,median", seeds="0-1")
    place = 1 + page.head["costs"].index("gradient steps")
    for trial in made.runs:
        rows = page.runs(trial.point.label)[f"seed {trial.seed}"]
        assert list(rows[:, 0]) == [1, 2, 3, 4]
        assert rows[:, -1] == pytest.approx(trial.history[made.metrics[1]], rel=1e-6)
        assert trial.facts is not None
        assert list(rows[:, place]) == list(np.cumsum(trial.facts.steps))


def test_a_page_that_opens_late_has_all(chart: RunChart, variables: dict[str, Any]) -> None:
    _, page = followed(chart, variables, seeds="0-1")
    late = Page(chart)
    late.take_state()
    assert np.array_equal(late.mean("mean of all runs"), page.mean("mean of all runs"))
    assert list(late.runs("mean of all runs")) == ["seed 0", "seed 1"]


def test_a_look_at_the_state_loses_nothing(chart: RunChart, variables: dict[str, Any]) -> None:
    given = {"model": "model", "data": "rows", "rounds": 3, "lr": 0.1, "seeds": "0-1"}
    made = Experiment(ExperimentSpec.of(given), variables)
    page = Page(chart)
    chart.follow_experiment(made)
    made.subscribe(lambda _: (chart.feed.update(), chart.get_state(), chart.send_new()))
    made.start().wait()
    assert len(page.mean("mean of all runs")) == 3
    assert np.isfinite(page.mean("mean of all runs")).all()


def test_a_run_that_failed_is_in_no_mean(chart: RunChart, variables: dict[str, Any]) -> None:
    made, page = followed(chart, variables, seeds="0-2")
    made.runs[1].status = "failed"
    chart.send_new()
    assert list(page.runs("mean of all runs")) == ["seed 0", "seed 2"]
    assert page.wholes == 2
    values = [made.runs[i].history["loss"][-1] for i in (0, 2)]
    assert page.mean("mean of all runs")[-1, 0] == pytest.approx(np.mean(values), rel=1e-6)


def test_of_many_settings_the_best_are_drawn_and_the_others_counted(
    chart: RunChart, variables: dict[str, Any]
) -> None:
    rates = ",".join(f"{0.001 * i:.3f}" for i in range(1, 41))
    made, page = followed(chart, variables, lr=f"[{rates}]", rounds=1, parties=2)
    assert chart.feed.head()["left"] == 4
    best = made.best.point.label
    assert best in {table["group"] for table in page.tables}


@pytest.mark.parametrize("band", ["std", "bootstrap"])
def test_spreads_of_many_rows_are_those_of_each(band: str) -> None:
    rows = np.random.default_rng(0).normal(size=(30, 5))
    rows[3], rows[4, 1:], rows[5, 2], rows[6, 0] = np.nan, np.nan, np.inf, np.nan
    found = statistics.spreads(rows, band)
    for row, (mean, low, high) in zip(rows, found, strict=True):
        one = statistics.spread(list(row), band)
        assert (mean, low, high) == pytest.approx((one.mean, one.low, one.high), nan_ok=True)
