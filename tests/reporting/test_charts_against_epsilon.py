"""Charts against the privacy that was spent."""

from __future__ import annotations

import math
from typing import Any

import pytest

import fusion_nb
from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import OptionError, RunError
from fusion_nb.reporting import charts

METRICS = ("loss", "accuracy")


def history(*spent: float, seconds: bool = False) -> History:
    """Rounds with these epsilons; without one, two rounds that count no privacy."""
    found = []
    for i, epsilon in enumerate(spent or (None, None), 1):
        metrics = {"loss": 1 / i, "accuracy": 0.1 * i}
        metrics |= {} if epsilon is None else {"epsilon": epsilon}
        metrics |= {"virtual_seconds": 2.0 * i} if seconds else {}
        found.append(RoundRecord(i, metrics, {}, ("a",), 0.1, 40, 40))
    return History(found)


def lines(axis: Any) -> dict[str, list[float]]:
    return {line.get_label(): [*line.get_xdata()] for line in axis.lines}


class TestCurves:
    def test_each_round_stands_at_its_epsilon(self) -> None:
        chart = charts.curves(history(0.5, 0.8, 1.2), METRICS, against="epsilon")
        for axis in chart.figure.axes:
            assert axis.get_xlabel() == "epsilon"
            assert lines(axis)["fused"] == [0.5, 0.8, 1.2]
        assert chart.alt.endswith("over 3 rounds, epsilon up to 1.2")

    def test_no_line_of_parties_is_explained_where_they_report_nothing(self) -> None:
        chart = charts.curves(history(0.5, 0.8), METRICS)
        assert chart.figure.get_supxlabel() == ""
        assert "dashed" in charts.curves(History(), METRICS).figure.get_supxlabel()

    @pytest.mark.parametrize("unknown", [math.nan, math.inf])
    def test_a_round_without_a_finite_epsilon_is_left_out(self, unknown: float) -> None:
        chart = charts.curves(history(0.5, unknown, 1.2), METRICS, against="epsilon")
        assert lines(chart.figure.axes[0])["fused"] == [0.5, 1.2]
        assert chart.png

    @pytest.mark.parametrize(
        ("spent", "reason"),
        [((), "it counts no privacy"), ((math.inf, math.inf), "its noise is 0")],
    )
    def test_a_run_without_epsilon_has_none(self, spent: tuple[float, ...], reason: str) -> None:
        with pytest.raises(RunError, match=reason):
            charts.curves(history(*spent), METRICS, against="epsilon")

    def test_a_misspelt_axis_is_refused(self) -> None:
        with pytest.raises(OptionError, match="there are: round, time, epsilon"):
            charts.curves(history(0.5), METRICS, against="epsilons")

    def test_a_run_draws_itself(self, rows: Any, net: Any) -> None:
        pytest.importorskip("dp_accounting")
        run = fusion_nb.federate(net(), rows, rounds=2, privacy="central:clip=1,noise=1")
        axis = run.plot("epsilon").figure.axes[0]
        assert lines(axis)["fused"] == run.history["epsilon"]
        with pytest.raises(RunError, match="no simulated time"):
            run.plot("time")


class TestComparison:
    def axes(self, **histories: History) -> dict[str, Any]:
        chart = charts.compare(histories, METRICS)
        assert chart.png
        assert ("epsilon up to" in chart.alt) == (chart.figure.axes[-1].get_xlabel() == "epsilon")
        return {axis.get_xlabel(): axis for axis in chart.figure.axes}

    def test_noises_are_compared_by_what_they_spend(self) -> None:
        found = self.axes(low=history(1.0, 2.0), high=history(0.2, 0.3))
        assert list(found) == ["round", "MB sent, up and down", "epsilon"]
        assert lines(found["epsilon"]) == {"low": [1.0, 2.0], "high": [0.2, 0.3]}

    @pytest.mark.parametrize("other", [(), (math.inf, math.inf)])
    def test_a_run_without_epsilon_is_in_the_other_panels_alone(
        self, other: tuple[float, ...]
    ) -> None:
        found = self.axes(private=history(1.0, 2.0), plain=history(*other))
        assert list(lines(found["epsilon"])) == ["private"]
        assert list(lines(found["round"])) == ["private", "plain"]

    def test_time_and_epsilon_stand_side_by_side(self) -> None:
        found = self.axes(a=history(1.0, seconds=True), b=history(2.0, seconds=True))
        assert list(found)[1:] == ["MB sent, up and down", "simulated seconds", "epsilon"]

    def test_without_privacy_there_is_no_such_panel(self) -> None:
        assert "epsilon" not in self.axes(a=history(), b=history())
        assert "epsilon" not in self.axes(a=history(), b=History())
