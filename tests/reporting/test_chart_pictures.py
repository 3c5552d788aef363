"""Static pictures: they fit light and dark pages, name parties, and show the part that is used."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread

from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.reporting import charts
from fusion_nb.reporting.charts.chart import INK
from fusion_nb.reporting.charts.drawing import COLOURS, PARTY_COLOURS, apart

pytestmark = pytest.mark.pictures

WHITE, DARK = "#ffffff", "#111111"
METRICS = ("loss", "accuracy")


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def record(number: int, accuracy: float, parties: int = 0) -> RoundRecord:
    names = [f"clinic {i}" for i in range(parties)]
    local = {
        name: {"local_loss": 1.0 / number, "local_accuracy": accuracy - 0.001 * i}
        for i, name in enumerate(names)
    }
    metrics = {"loss": 1.0 / number, "accuracy": accuracy}
    return RoundRecord(number, metrics, local, tuple(names), 0.1, 1, 1)


def history(accuracies: Mapping[int, float] | list[float], parties: int = 0) -> History:
    return History([record(i + 1, value, parties) for i, value in enumerate(accuracies)])


def names_at_ends(chart: charts.Chart, panel: int = 1) -> list[str]:
    return sorted(text.get_text() for text in chart.figure.axes[panel].texts)


@pytest.mark.parametrize("ground", [WHITE, DARK])
@pytest.mark.parametrize("colour", [INK, *COLOURS, *PARTY_COLOURS])
def test_colours_can_be_seen_on_both_themes(colour: str, ground: str) -> None:
    assert contrast(colour, ground) >= (4.3 if colour == INK else 3.0)


def test_the_ground_is_transparent() -> None:
    chart = charts.curves(history([0.1, 0.9], 3), METRICS)
    alpha = imread(io.BytesIO(chart.png))[..., 3]
    assert alpha[0, 0] == 0
    assert (alpha == 0).mean() > 0.8
    assert (alpha > 0.8).any()


def test_no_ink_is_black_or_white() -> None:
    chart = charts.curves(history([0.1, 0.9], 3), METRICS)
    pixels = imread(io.BytesIO(chart.png))
    solid = pixels[pixels[..., 3] > 0.98][:, :3]
    assert solid.max(axis=1).min() > 0.25
    assert solid.min(axis=1).max() < 0.85


@pytest.mark.parametrize(("parties", "named"), [(1, 1), (3, 3), (6, 6), (7, 0), (20, 0)])
def test_up_to_six_parties_are_named_at_the_ends_of_their_lines(parties: int, named: int) -> None:
    chart = charts.curves(history([0.5, 0.8], parties), METRICS)
    expected = sorted(["fused", *(f"clinic {i}" for i in range(named))])
    for panel in (0, 1):
        assert names_at_ends(chart, panel) == expected


def test_names_at_the_same_height_do_not_overlap() -> None:
    chart = charts.curves(history([0.5, 0.8], 6), METRICS)
    renderer = FigureCanvasAgg(chart.figure).get_renderer()
    for axis in chart.figure.axes:
        boxes = sorted(
            (text.get_window_extent(renderer) for text in axis.texts), key=lambda b: b.y0
        )
        assert boxes[0].y0 >= axis.bbox.y0 - 1
        assert all(a.y1 - b.y0 < 2 for a, b in itertools.pairwise(boxes))


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([5.0], [5.0]),
        ([0.0, 10.0], [0.0, 10.0]),
        ([0.0, 0.0], [-2.0, 2.0]),
        ([0.0, 0.0, 3.0], [-3.0, 1.0, 5.0]),
        ([0.0, 0.0, 9.0, 9.0], [-2.0, 2.0, 7.0, 11.0]),
    ],
)
def test_places_are_moved_apart_as_little_as_need_be(
    places: list[float], expected: list[float]
) -> None:
    assert apart(places, 4.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("accuracies", "whole"),
    [([0.95, 0.97], False), ([0.1, 0.9], True), ([0.0, 0.2], True), ([0.5], True), ([], True)],
)
def test_the_axis_of_a_share_is_whole_unless_curves_use_little_of_it(
    accuracies: list[float], whole: bool
) -> None:
    low, high = charts.curves(history(accuracies), METRICS).figure.axes[1].get_ylim()
    assert ((low, high) == (0, 1.02)) is whole
    if not whole:
        assert 0 < low < min(accuracies)
        assert max(accuracies) < high <= 1.02


def test_the_axis_holds_the_band_of_many_parties() -> None:
    low, _ = charts.curves(history([0.9, 0.95], 40), METRICS).figure.axes[1].get_ylim()
    assert low < 0.9 - 0.001 * 30


def test_settings_of_the_user_reach_no_picture() -> None:
    import matplotlib

    plain = charts.curves(history([0.5, 0.8], 3), METRICS).png
    with matplotlib.rc_context({"axes.facecolor": "red", "text.color": "red", "font.size": 30}):
        assert charts.curves(history([0.5, 0.8], 3), METRICS).png == plain


def test_runs_that_are_compared_use_the_same_part_of_the_axis() -> None:
    runs = {"a": history([0.95, 0.97]), "b": history([0.92, 0.93])}
    low, high = charts.compare(runs, METRICS).figure.axes[1].get_ylim()
    assert 0.9 < low < 0.92
    assert 0.97 < high <= 1.02
