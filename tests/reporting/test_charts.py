"""Charts of runs: curves, baselines, ticks of synchronisations, and several runs in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.reporting import charts

pytestmark = pytest.mark.pictures

BOTH = {"baseline": "central,local"}


def record(number: int, metrics: Mapping[str, float], **fields: Any) -> RoundRecord:
    return RoundRecord(number, dict(metrics), {}, ("party 1", "party 2"), 0.1, 1000, 500, **fields)


def ticks(chart: charts.Chart) -> list[list[float]]:
    """Return where each panel marks rounds below the curves."""
    marks = [axis.collections for axis in chart.figure.axes]
    return [
        [float(line[0][0]) for mark in found for line in mark.get_segments()] for found in marks
    ]


def test_baselines_are_drawn_and_told(trained: Any, net: Any) -> None:
    run = trained(net(), personal="ditto", **BOTH)
    last = run.history[-1].metrics
    alt = run.plot().alt
    for start, label in (
        ("central_", "one model with all rows"),
        ("alone_", "parties alone, on average"),
        ("personal_", "parties' own models, on average"),
    ):
        told = (
            f"{label}: loss {last[start + 'loss']:.3g} and accuracy {last[start + 'accuracy']:.3g}"
        )
        assert told in alt
        for axis, metric in zip(run.plot().figure.axes, ("loss", "accuracy"), strict=True):
            (line,) = [line for line in axis.lines if line.get_label() == label]
            assert list(line.get_ydata()) == run.history[start + metric]


def test_a_chart_without_baselines_has_no_legend(trained: Any, net: Any) -> None:
    chart = trained(net()).plot()
    assert ";" not in chart.alt
    assert {
        line.get_label() for line in chart.figure.axes[0].lines if line.get_label()[0] != "_"
    } == {"fused"}
    assert not chart.figure.legends


def test_personal_models_after_the_last_round_are_one_point(trained: Any, net: Any) -> None:
    run = trained(net(), personal="finetune")
    chart = run.plot()
    (line,) = [line for line in chart.figure.axes[0].lines if "own models" in str(line.get_label())]
    assert list(line.get_xdata()) == [3]
    assert f"own models, on average: loss {run.history['personal_loss'][-1]:.3g}" in chart.alt
    assert len(chart.png) > 10_000


def test_rounds_are_marked_where_weights_travelled_only_if_parties_were_silent() -> None:
    both = ("party 1", "party 2")
    silent = [both, (), both, ("party 2",)]
    history = History([record(i + 1, {"loss": 1.0}, silent=who) for i, who in enumerate(silent)])
    chart = charts.curves(history, ["loss", "accuracy"])
    assert ticks(chart) == [[2, 4], [2, 4]]
    assert "ticks: rounds in which weights travelled" in chart.figure.get_supxlabel()
    always = History([replace(one, silent=()) for one in history])
    assert ticks(charts.curves(always, ["loss", "accuracy"])) == [[], []]
    assert "ticks" not in charts.curves(always, ["loss", "accuracy"]).figure.get_supxlabel()


def test_labels_of_changes_stay_inside_of_their_axis_and_apart() -> None:
    given = {3: {"lr": 0.01}, 4: {"epochs": 2}, 19: {"fusion": "fedprox:mu=0.1"}}
    history = History(
        [record(i, {"loss": 1 / i}, changes=given.get(i, {})) for i in range(1, 21)],
    )
    chart = charts.curves(history, ["loss", "accuracy"])
    chart.figure.canvas.draw()
    for axis in chart.figure.axes:
        labels = [text for text in axis.texts if text.get_text().split()[0] in str(given)]
        assert [each.get_text() for each in labels] == [
            "lr 0.01",
            "epochs 2",
            "fusion fedprox:mu=0.1",
        ]
        boxes = [each.get_window_extent() for each in labels]
        assert all(axis.bbox.x0 <= box.x0 and box.x1 <= axis.bbox.x1 for box in boxes)
        assert not any(a.overlaps(b) for a, b in pairwise(boxes))


@pytest.mark.parametrize("num_rounds", [1, 20, 1_000, 20_000])
def test_the_numbers_of_rounds_have_room_beside_each_other(num_rounds: int) -> None:
    metrics = {"loss": 1.0, "accuracy": 0.5}
    history = History([record(i, metrics) for i in range(1, num_rounds + 1)])
    compared = charts.compare({"one": history}, ["loss", "accuracy"])
    alone = charts.curves(history, ["loss", "accuracy"])
    for figure in (compared.figure, alone.figure):
        figure.canvas.draw()
        for axis in figure.axes[:2]:
            low, high = axis.get_xlim()
            labels = [x for x in axis.get_xticklabels() if low <= x.get_position()[0] <= high]
            boxes = [label.get_window_extent() for label in labels]
            assert len(boxes) >= 2
            assert all(one.x1 + 3 <= other.x0 for one, other in pairwise(boxes))


def test_one_round_is_told_as_one() -> None:
    one = History([record(1, {"loss": 0.5, "accuracy": 0.5})])
    assert charts.curves(one, ["loss", "accuracy"]).alt.endswith("over 1 round")


def test_ticks_of_a_run_are_those_of_its_synchronisations(trained: Any, net: Any) -> None:
    run = trained(net(), fusion="fda:theta=0.05", rounds=8, baseline="local")
    expected = [one.round for one in run.history if one.synchronised]
    assert 0 < len(expected) < 8
    assert ticks(run.plot()) == [expected, expected]


def test_runs_are_compared_by_bytes_too(trained: Any, net: Any) -> None:
    runs = {
        "plain": trained(net()),
        "sparing": trained(net(), fusion="fda:theta=1", rounds=5),
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


def test_a_run_that_sent_nothing_can_be_compared() -> None:
    nothing = History(
        [replace(record(i, {"loss": 1.0 / i}), bytes_up=0, bytes_down=0) for i in (1, 2, 3)]
    )
    much = History([record(i, {"loss": 1.0 / i}) for i in (1, 2, 3)])
    chart = charts.compare(
        {"nothing": nothing, "much": much, "none": History()}, ["train_loss", "loss"]
    )
    assert len(chart.png) > 10_000


def test_bytes_sent_add_up_both_ways(trained: Any, net: Any) -> None:
    history = History([record(i, {}) for i in (1, 2, 3)])
    assert history.bytes_sent() == [1500, 3000, 4500]
    assert History().bytes_sent() == []
    run = trained(net(), **BOTH)  # what is compared with sends nothing
    assert run.history.bytes_sent() == trained(net()).history.bytes_sent()


def test_the_image_of_a_chart_has_its_description_as_alt_text() -> None:
    chart = charts.curves(History([record(1, {"loss": 1.0})]), ["loss", "accuracy"])
    chart.alt = 'loss < 1 & "more"'
    tag = charts.image_tag(chart)
    assert 'alt="loss &lt; 1 &amp; &#34;more&#34;"' in tag
    assert tag.startswith("<img ")
