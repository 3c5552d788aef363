"""Pictures and sentences about simulated time."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

import fusion_nb
from fusion_nb.core.clock.trips import Trip
from fusion_nb.core.history import History
from fusion_nb.core.types import Failure, RoundRecord
from fusion_nb.errors import RunError
from fusion_nb.reporting import charts
from fusion_nb.reporting.simulated_time import simulated_time
from fusion_nb.runs.preview import look
from fusion_nb.runs.spec import RunSpec


def record(trips: Mapping[str, Trip], end: float, *late: str, round: int = 1) -> RoundRecord:
    failures = tuple(Failure(party, "late: 9 s (simulated)") for party in late)
    metrics = {"virtual_seconds": end, "loss": 1.0, "accuracy": 0.5}
    return RoundRecord(round, metrics, {}, tuple(trips), 0.1, 40, 40, failures, trips=dict(trips))


TRIPS = {
    "a": Trip(10.0, 0.0, 1.0, 2.0, 1.0),
    "b_": Trip(10.0, 1.0, 1.0, 3.0, 1.0),
    "$c$": Trip(10.0, 0.0, 1.0, 8.0, 1.0),
}


def texts(chart: charts.Chart) -> list[str]:
    figure = chart.figure
    found = [text.get_text() for axis in figure.axes for text in axis.get_yticklabels()]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return [*found, *legends, *(text.get_text() for axis in figure.axes for text in axis.texts)]


def test_numbers_of_rounds_do_not_overlap_in_narrow_panels() -> None:
    long = History([record(TRIPS, 16.0 * n, round=n) for n in range(1, 131)])
    figure = charts.compare({"a": long}, ["loss", "accuracy"]).figure
    figure.canvas.draw()
    boxes = [t.get_window_extent() for t in figure.axes[0].get_xticklabels() if t.get_text()]
    boxes.sort(key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert len(boxes) > 3


class TestGantt:
    def test_each_party_is_a_bar_from_fast_to_slow(self) -> None:
        chart = charts.gantt(record(TRIPS, 16.0, "$c$"))
        found = texts(chart)
        assert found[:3] == ["a", "b_", "$c$ (late)"]
        assert {"receives", "trains", "sends", "asleep", "waits for others"} <= {*found}
        assert "3 parties, 1 of them late; it ended 6 s after" in chart.alt
        widths = sorted(round(bar.get_width(), 6) for bar in chart.figure.axes[0].patches)
        assert widths == [1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 8]

    def test_asynchronous_trips_begin_at_their_own_times(self) -> None:
        trips = {"a": Trip(0.0, 0, 1, 7, 1), "b": Trip(6.0, 0, 1, 2, 1, version=3)}
        found = texts(charts.gantt(record(trips, 10.0)))
        assert "its update waits" in found
        assert "waits for others" not in found

    def test_many_parties_are_thinned_out(self) -> None:
        trips = {f"party {i}": Trip(0.0, 0, 0, float(i + 1), 0) for i in range(200)}
        chart = charts.gantt(record(trips, 200.0))
        names = [name for name in texts(chart) if name.startswith("party")]
        assert len(names) == 30
        assert names[0] == "party 0"
        assert names[-1] == "party 199"
        assert "30 of 200 parties" in chart.note

    @pytest.mark.parametrize(
        ("seconds", "unit"),
        [(0.01, "milliseconds"), (10, "seconds"), (900, "minutes"), (1e5, "hours")],
    )
    def test_the_axis_has_a_fitting_unit(self, seconds: float, unit: str) -> None:
        chart = charts.gantt(record({"a": Trip(0.0, 0, 0, seconds, 0)}, seconds))
        assert unit in chart.figure.axes[0].get_xlabel()

    def test_a_run_draws_its_rounds(self, rows: Any, net: Any) -> None:
        run = fusion_nb.federate(net(), rows, rounds=2, devices="phones", step_seconds=1)
        assert "Round 2 " in run.gantt().alt
        assert "Round 1 " in run.gantt(1).alt
        for number in (3, -1):
            with pytest.raises(RunError, match="there are rounds 1 to 2"):
                run.gantt(number)

    def test_a_run_without_time_has_none(self, rows: Any, net: Any) -> None:
        run = fusion_nb.federate(net(), rows, rounds=1)
        with pytest.raises(RunError, match="no simulated time"):
            run.gantt()


class TestComparison:
    def labels(self, *histories: History) -> list[str]:
        named = {f"run {i}": history for i, history in enumerate(histories)}
        chart = charts.compare(named, ("loss", "accuracy"))
        return [axis.get_xlabel() for axis in chart.figure.axes]

    def test_timed_runs_are_compared_by_time(self) -> None:
        timed = History([record(TRIPS, 5.0), record(TRIPS, 9.0, round=2)])
        assert self.labels(timed, timed) == ["round", "MB sent, up and down", "simulated seconds"]

    def test_others_as_before(self) -> None:
        timed = History([record(TRIPS, 5.0)])
        plain = History([RoundRecord(1, {"loss": 1.0, "accuracy": 0.5}, {}, ("a",), 0.1, 4, 4)])
        assert self.labels(timed, plain) == ["round", "round", "MB sent, up and down"]


class TestCurves:
    def test_they_are_drawn_against_time(self, rows: Any, net: Any) -> None:
        run = fusion_nb.federate(
            net(), rows, rounds=3, devices="phones", step_seconds=1, changes="2:lr=0.05"
        )
        for axis in run.plot(by_time=True).figure.axes:
            assert axis.get_xlabel() == "simulated seconds"
            line = next(line for line in axis.lines if line.get_label() == "fused")
            assert [*line.get_xdata()] == run.history["virtual_seconds"]
        assert {axis.get_xlabel() for axis in run.plot().figure.axes} == {"round"}

    def test_a_run_without_time_has_none(self, rows: Any, net: Any) -> None:
        with pytest.raises(RunError, match="no simulated time"):
            fusion_nb.federate(net(), rows, rounds=1).plot(by_time=True)


class TestWords:
    def test_a_summary_tells_time_and_who_was_late(self) -> None:
        history = History([record(TRIPS, 16.0, "$c$"), record(TRIPS, 20.0, round=2)])
        assert simulated_time(history) == [
            "simulated time: 20 s; 1 of 6 updates were late; updates were 0.5 rounds old on average"
        ]
        assert simulated_time(History()) == []

    def test_the_first_round_that_is_as_good(self) -> None:
        values = [0.2, 0.6, 0.5, 0.8]
        history = History(
            RoundRecord(i, {"accuracy": v, "loss": 1 - v}, {}, ("a",), 0.1, 4, 4)
            for i, v in enumerate(values, 1)
        )
        assert [
            getattr(history.reached("accuracy", v), "round", None) for v in (0.2, 0.55, 0.9)
        ] == [
            1,
            2,
            None,
        ]
        assert history.reached("loss", 0.4) is history[1]
        assert history.reached("auc", 0.5) is None


class TestPreview:
    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"over_select": 1.5, "deadline": 0.15},
            {"fusion": "fedbuff:buffer=2"},
            {"sampling": "tiers:2"},
        ],
    )
    def test_it_tells_what_the_run_will_take(self, rows: Any, net: Any, options: Any) -> None:
        chosen: dict[str, Any] = {
            **{"parties": 8, "fraction": 0.5, "rounds": 4, "devices": "lognormal:sigma=1"},
            **{"network": "4g", "step_seconds": 0.01, **options},
        }
        cost = look(RunSpec(data="d", model="m", **chosen), {"m": net(), "d": rows}).cost
        history = fusion_nb.federate(net(), rows, **chosen).history
        assert cost.simulated is not None
        assert cost.simulated.seconds == pytest.approx(history["virtual_seconds"][-1])
        assert cost.simulated.late == sum(len(r.failures) for r in history)
        assert cost.bytes_all == history.bytes_sent()[-1]
        assert "of simulated time" in str(cost)

    def test_without_time_it_tells_none(self, rows: Any, net: Any) -> None:
        cost = look(RunSpec(data="d", model="m"), {"m": net(), "d": rows}).cost
        assert cost.simulated is None
        assert "simulated" not in str(cost)
