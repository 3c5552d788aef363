"""What a federation is compared with, and how the comparison is told: baselines, reports,
charts."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.core.federation import Federation
from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.reporting import charts
from fusion_nb.reporting.parties import Parties, PartyReport
from fusion_nb.runs.build import build

BOTH = {"baseline": "central,local"}


def made(rows: Any, model: Any, **options: Any) -> Run:
    spec = RunSpec(data="data", **{"lr": 0.1, "rounds": 3} | options)
    return Run(spec, {"model": model, "data": rows})


def trained(rows: Any, model: Any, **options: Any) -> Run:
    return made(rows, model, **options).start().wait()


def federation_of(rows: Any, model: Any, **options: Any) -> Federation:
    return build(RunSpec(data="data", **{"lr": 0.1} | options), {"model": model, "data": rows})


def report(name: str, **kinds: float | None) -> PartyReport:
    given = {
        kind: {} if value is None else {"accuracy": value, "loss": 1 - value}
        for kind, value in kinds.items()
    }
    return PartyReport(name, 10, 5, {}, **given)


class TestReports:
    @pytest.mark.parametrize(
        ("options", "kinds"),
        [
            ({}, ["local", "fused"]),
            ({"baseline": "central"}, ["local", "fused"]),
            ({"baseline": "local"}, ["alone", "local", "fused"]),
            ({"personal": "ditto"}, ["alone", "local", "fused", "personal"]),
            ({"share": "best"}, ["alone", "local", "fused", "personal"]),
            ({"personal": "fedper:layers=2.*"}, ["alone", "local", "personal"]),
        ],
        ids=str,
    )
    def test_columns_are_there_where_there_is_something_in_them(
        self, rows: Any, net: Any, options: Any, kinds: list[str]
    ) -> None:
        run = trained(rows, net(), rounds=1, **options)
        assert run.parties.table("accuracy")[0] == [
            "party",
            "rows",
            "test rows",
            *(f"{k} accuracy" for k in kinds),
        ]
        assert not any("–" in row for row in run.parties.table("accuracy"))
        columns = run.parties.to_frame().columns
        assert {name.partition("_")[0] for name in columns if name.endswith("_accuracy")} == {
            *kinds
        }

    @pytest.mark.parametrize("monitor", ["accuracy", "loss"])
    def test_gains_by_hand(self, rows: Any, net: Any, monitor: str) -> None:
        run = trained(
            rows, net(), personal="ditto", split="dirichlet:alpha=0.3", monitor=monitor, rounds=4
        )
        worst, beats = (min, np.greater) if monitor == "accuracy" else (max, np.less)
        found = {
            k: [getattr(party, k)[monitor] for party in run.parties]
            for k in ("alone", "fused", "personal")
        }
        first, second = run.parties.gains(monitor)
        for kind, values in found.items():
            mean, spread = statistics.fmean(values), statistics.pstdev(values)
            assert f"{kind} {mean:.3f} (worst {worst(values):.3f}, spread {spread:.3f})" in first
        counts = [int(beats(found[kind], found["alone"]).sum()) for kind in ("fused", "personal")]
        assert second == (
            f"better than alone: {counts[0]} of 4 parties with the fused model, "
            f"{counts[1]} of 4 parties with one of their own"
        )
        assert {first, second} <= {line.strip() for line in run.summary().splitlines()}
        assert first in run._repr_mimebundle_()["text/html"]

    def test_gains_are_told_of_parties_that_can_be_compared(self) -> None:
        parties = Parties(
            [
                report("a", alone=0.5, fused=0.7, personal=0.5),
                report("b", alone=0.9, fused=0.7, personal=0.95),
                report("c", alone=None, fused=0.7, personal=None),
            ]
        )
        assert parties.gains("accuracy") == [
            "accuracy over parties: alone 0.700 (worst 0.500, spread 0.200), "
            "fused 0.700 (worst 0.700, spread 0.000), personal 0.725 (worst 0.500, spread 0.225)",
            "better than alone: 1 of 2 parties with the fused model, 1 of 2 parties with one of "
            "their own",
        ]
        assert "alone 0.300 (worst 0.500, spread 0.200)" in parties.gains("loss")[0]
        assert Parties([report("c", fused=0.7)]).gains("accuracy") == []

    @pytest.mark.parametrize(
        "monitor", ["personal_accuracy", "alone_accuracy", "central_accuracy", "local_accuracy"]
    )
    def test_of_a_metric_of_other_models_the_table_shows_all(self, monitor: str) -> None:
        parties = Parties([report("a", alone=0.5, local=0.6, fused=0.7, personal=0.8)])
        assert parties.table(monitor) == parties.table("accuracy")
        assert parties.table(monitor)[1][3:] == ["0.500", "0.600", "0.700", "0.800"]
        assert parties.gains(monitor) == parties.gains("accuracy") != []


def record(number: int, metrics: Mapping[str, float], **fields: Any) -> RoundRecord:
    return RoundRecord(number, dict(metrics), {}, ("party 1", "party 2"), 0.1, 1000, 500, **fields)


def ticks(chart: charts.Chart) -> list[list[float]]:
    """Return where each panel marks rounds below the curves."""
    marks = [axis.collections for axis in chart.figure.axes]
    return [
        [float(line[0][0]) for mark in found for line in mark.get_segments()] for found in marks
    ]


class TestCharts:
    def test_baselines_are_drawn_and_told(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="ditto", **BOTH)
        last = run.history[-1].metrics
        alt = run.plot().alt
        for start, label in (
            ("central_", "one model with all rows"),
            ("alone_", "parties alone, on average"),
            ("personal_", "parties' own models, on average"),
        ):
            told = (
                f"{label}: loss {last[start + 'loss']:.3g} and accuracy "
                f"{last[start + 'accuracy']:.3g}"
            )
            assert told in alt
            for axis, metric in zip(run.plot().figure.axes, ("loss", "accuracy"), strict=True):
                (line,) = [line for line in axis.lines if line.get_label() == label]
                assert list(line.get_ydata()) == run.history[start + metric]

    def test_what_was_not_asked_for_is_neither(self, rows: Any, net: Any) -> None:
        chart = trained(rows, net()).plot()
        assert ";" not in chart.alt
        assert {
            line.get_label() for line in chart.figure.axes[0].lines if line.get_label()[0] != "_"
        } == {"fused"}
        assert not chart.figure.legends

    def test_models_given_after_the_last_round_are_one_point(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="finetune")
        chart = run.plot()
        (line,) = [
            line for line in chart.figure.axes[0].lines if "own models" in str(line.get_label())
        ]
        assert list(line.get_xdata()) == [3]
        assert f"own models, on average: loss {run.history['personal_loss'][-1]:.3g}" in chart.alt
        assert len(chart.png) > 10_000

    def test_rounds_are_marked_where_weights_travelled_only_if_parties_were_silent(self) -> None:
        both = ("party 1", "party 2")
        silent = [both, (), both, ("party 2",)]
        history = History(
            [record(i + 1, {"loss": 1.0}, silent=who) for i, who in enumerate(silent)]
        )
        chart = charts.curves(history, ["loss", "accuracy"])
        assert ticks(chart) == [[2, 4], [2, 4]]
        assert "ticks: rounds in which weights travelled" in chart.figure.get_supxlabel()
        always = History([replace(one, silent=()) for one in history])
        assert ticks(charts.curves(always, ["loss", "accuracy"])) == [[], []]
        assert "ticks" not in charts.curves(always, ["loss", "accuracy"]).figure.get_supxlabel()

    def test_ticks_of_a_run_are_those_of_its_synchronisations(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), fusion="fda:theta=0.05", rounds=8, baseline="local")
        expected = [one.round for one in run.history if one.synchronised]
        assert 0 < len(expected) < 8
        assert ticks(run.plot()) == [expected, expected]

    def test_runs_are_compared_by_what_they_sent_too(self, rows: Any, net: Any) -> None:
        runs = {
            "plain": trained(rows, net()),
            "sparing": trained(rows, net(), fusion="fda:theta=1", rounds=5),
        }
        histories = {name: run.history for name, run in runs.items()}
        chart = charts.compare(histories, ["loss", "accuracy"])
        assert [axis.get_title(loc="left") for axis in chart.figure.axes] == [
            "loss",
            "accuracy",
            "accuracy",
        ]
        by_bytes = chart.figure.axes[2]
        assert by_bytes.get_xlabel() == "MB sent, up and down"
        for line in by_bytes.lines:
            history = histories[line.get_label()]
            assert list(line.get_xdata()) == pytest.approx(
                [sent / 1e6 for sent in history.bytes_sent()]
            )
            assert list(line.get_ydata()) == history["accuracy"]
        assert len(by_bytes.lines) == 2
        assert len(chart.png) > 10_000

    def test_a_run_that_sent_nothing_can_be_compared(self) -> None:
        nothing = History(
            [replace(record(i, {"loss": 1.0 / i}), bytes_up=0, bytes_down=0) for i in (1, 2, 3)]
        )
        much = History([record(i, {"loss": 1.0 / i}) for i in (1, 2, 3)])
        chart = charts.compare(
            {"nothing": nothing, "much": much, "none": History()}, ["train_loss", "loss"]
        )
        assert len(chart.png) > 10_000

    def test_bytes_sent_add_up_both_ways(self, rows: Any, net: Any) -> None:
        history = History([record(i, {}) for i in (1, 2, 3)])
        assert history.bytes_sent() == [1500, 3000, 4500]
        assert History().bytes_sent() == []
        run = trained(rows, net(), **BOTH)  # what is compared with sends nothing
        assert run.history.bytes_sent() == trained(rows, net()).history.bytes_sent()
