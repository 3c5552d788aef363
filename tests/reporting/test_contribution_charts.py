"""Charts of what parties contribute: their bars, marks and numbers, and where they are shown."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.errors import RunError
from fusion_nb.notebook.panel.run_view import parties_html
from fusion_nb.reporting.charts import Chart
from fusion_nb.reporting.contributions import Contribution, Contributions

torch = pytest.importorskip("torch")


def exact(**values: float) -> dict[str, Contribution]:
    return {party: Contribution(value, value, value) for party, value in values.items()}


def many(count: int) -> dict[str, Contribution]:
    return {f"p{i}": Contribution(i - 9.0, i - 10.0, i - 8.0) for i in range(count)}


def bars(chart: Chart, column: int) -> dict[str, float]:
    """The lengths of the bars in a column, by the names that stand at their heights."""
    axis = chart.figure.axes[column]
    first = chart.figure.axes[0]
    names = {
        round(float(at), 6): label.get_text()
        for at, label in zip(first.get_yticks(), first.get_yticklabels(), strict=True)
    }
    return {
        names[round(patch.get_y() + patch.get_height() / 2, 6)]: float(patch.get_width())
        for patch in axis.patches
    }


SMALL = Contributions(
    "accuracy",
    {"shapley": exact(a=0.1, b=-0.2, c=0.3), "leave_one_out": exact(a=0.0, b=-0.1, c=0.2)},
    num_trainings=6,
    own={"a": 0.7, "b": 0.6, "c": 0.9},
    unseen={"new": 0.5},
)


def test_each_party_has_its_bars_the_best_on_top() -> None:
    chart = SMALL.plot()
    assert list(bars(chart, 1).items()) == [("c", 0.3), ("a", 0.1), ("b", -0.2)]
    assert bars(chart, 2) == {"c": 0.2, "a": 0.0, "b": -0.1}
    assert bars(chart, 0) == {"c": 0.9, "a": 0.7, "b": 0.6, "new (never trained)": 0.5}
    titles = [axis.get_title(loc="left") for axis in chart.figure.axes]
    assert titles == ["fused accuracy", "shapley", "leave_one_out"]


def test_what_makes_a_model_worse_has_another_colour() -> None:
    patches = SMALL.plot().figure.axes[1].patches
    better, also, worse = (patch.get_facecolor() for patch in patches)
    assert better == also != worse


def test_the_cost_in_trainings_is_told() -> None:
    chart = SMALL.plot()
    assert chart.figure.get_suptitle() == "contribution to accuracy: 6 further trainings in all"
    assert chart.figure.get_suptitle() in chart.alt
    assert "new 0.500" in chart.alt
    matrix = Contributions("loss", cross_site={"a": {"a": 1.0}}, num_trainings=1)
    title = matrix.plot_cross_site().figure.axes[0].get_title(loc="left")
    assert title.endswith("1 further training in all")
    assert "no further training" in Contributions("loss", unseen={"new": 1.0}).plot().alt


def test_intervals_are_drawn_where_values_were_sampled() -> None:
    chart = Contributions("accuracy", {"shapley": many(8)}).plot()
    axis = chart.figure.axes[0]
    assert axis.get_title(loc="left") == "shapley, 95 % interval"
    ends = [tuple(line.get_xdata()) for line in axis.lines[:8]]
    assert ends == [(i - 10.0, i - 8.0) for i in reversed(range(8))]


@pytest.mark.parametrize(("metric", "best"), [("accuracy", "b"), ("loss", "a"), ("rmse", "a")])
def test_parties_without_contributions_stand_in_the_order_of_their_metric(
    metric: str, best: str
) -> None:
    chart = Contributions(metric, own={"a": 0.2, "b": 0.8}, unseen={"new": 0.1}).plot()
    assert next(iter(bars(chart, 0))) == best


@pytest.mark.parametrize("count", [13, 40, 300])
def test_of_many_parties_the_best_and_the_worst_are_drawn(count: int) -> None:
    found = {f"u{i}": i / 10 for i in range(9)}
    chart = Contributions("accuracy", {"shapley": many(count)}, unseen=found).plot()
    names = [label.get_text() for label in chart.figure.axes[0].get_yticklabels()]
    numbers = [*range(count - 1, count - 7, -1), *range(5, -1, -1)]
    assert names[:12] == [f"p{i}" for i in numbers]
    assert names[12:] == [f"u{i} (never trained)" for i in (8, 7, 6, 2, 1, 0)]
    assert f"the best 6 and the worst 6 of {count} parties by shapley" in chart.note
    assert "the best 3 and the worst 3 of 9 parties that never trained" in chart.note
    assert chart.figure.get_size_inches()[1] < 9


@pytest.mark.pictures
def test_values_that_are_not_known_stand_last_without_a_bar() -> None:
    values = exact(a=math.nan, b=0.1)
    chart = Contributions("accuracy", {"shapley": values}, own={"a": math.nan, "b": 1.0}).plot()
    assert [label.get_text() for label in chart.figure.axes[0].get_yticklabels()] == ["b", "a"]
    assert "–" in [text.get_text() for text in chart.figure.axes[1].texts]
    assert len(chart.png) > 1000


@pytest.mark.pictures
@pytest.mark.parametrize("name", ["$\\frac{$", "_hidden", "a\nb", "長い名前" * 30, "<b>&"])
def test_any_name_can_be_drawn(name: str) -> None:
    found = Contributions(
        "accuracy",
        {"shapley": exact(**{name: 0.1, "b": 0.2})},
        cross_site={name: {name: 1.0, "b": 0.5}, "b": {name: 0.5, "b": 1.0}},
        unseen={f"{name} too": 0.3},
    )
    for chart in found.charts().values():
        assert len(chart.png) > 1000
    assert "<b>&" not in found.images()


@pytest.mark.parametrize(("metric", "is_dark_high"), [("accuracy", True), ("loss", False)])
def test_better_is_darker_in_the_cross_site_matrix(metric: str, is_dark_high: bool) -> None:
    matrix = {"a": {"a": 0.9, "b": 0.1}, "b": {"a": 0.2, "b": 0.8}}
    axis = Contributions(metric, cross_site=matrix).plot_cross_site().figure.axes[0]
    assert np.array_equal(axis.images[0].get_array(), [[0.9, 0.1], [0.2, 0.8]])
    high, low = (sum(axis.images[0].cmap(axis.images[0].norm(v))[:3]) for v in (0.9, 0.1))
    assert bool(high < low) is is_dark_high
    inks = {text.get_text(): text.get_color() for text in axis.texts}
    assert inks["0.900" if is_dark_high else "0.100"] == "white"
    assert inks["0.100" if is_dark_high else "0.900"] == "black"


def test_a_large_matrix_has_no_numbers_and_not_all_names() -> None:
    names = [f"p{i}" for i in range(61)]
    matrix = {a: {b: 1.0 for b in names if b != "p5"} for a in names}
    axis = Contributions("accuracy", cross_site=matrix).plot_cross_site().figure.axes[0]
    assert not axis.texts
    assert len(axis.get_yticklabels()) == 21


def test_contributions_come_back_from_json() -> None:
    found = Contributions("accuracy", {"shapley": many(3)}, {"a": {"a": 1.0}}, 7, "local", {"a": 1})
    assert Contributions.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_what_was_not_measured_is_refused_in_one_line() -> None:
    with pytest.raises(RunError, match=r"not measured after the run\n.*contribution='shapley'"):
        Contributions("accuracy").plot()
    with pytest.raises(RunError, match="contribution='cross_site'"):
        Contributions("accuracy", unseen={"a": 1.0}).plot_cross_site()
    assert Contributions("accuracy").charts() == {}
    assert Contributions("accuracy").images() == ""


# In a run


@pytest.fixture(scope="module")
def run() -> fusion_nb.Run:
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(30, 3)).astype("float32") for _ in range(4)]
    data = {f"site {i}": (each, (each[:, 0] > 0).astype(np.int64)) for i, each in enumerate(x)}
    torch.manual_seed(0)
    options = {"contribution": "shapley,cross_site", "unseen": 1, "engine": "local"}
    return fusion_nb.federate(torch.nn.Linear(3, 2), data, rounds=2, lr=0.5, **options)


def test_a_run_has_a_chart_of_its_parties(run: fusion_nb.Run) -> None:
    found = run.contributions
    assert found.num_trainings == 6
    assert bars(run.parties.plot(), 1) == pytest.approx(
        {party: value.value for party, value in found.values["shapley"].items()}
    )
    unseen = next(party for party in run.parties if party.is_unseen)
    assert bars(run.parties.plot(), 0)[f"{unseen.id} (never trained)"] == unseen.fused["accuracy"]
    assert list(found.cross_site) == [party.id for party in run.parties if not party.is_unseen]
    assert all(list(row) == list(found.cross_site) for row in found.cross_site.values())


def test_cell_and_panel_show_the_charts(run: fusion_nb.Run) -> None:
    bundle = run.result().mimebundle()
    assert bundle["text/html"].count("<img") == 3
    assert "6 further trainings in all" in bundle["text/html"]
    panel = parties_html(run.result(), [])
    assert panel.count("<img") == 2
    assert "never trained" in panel
    shown = run.contributions._repr_mimebundle_()
    assert shown["text/html"].count("<img") == 2
    assert "<table" in shown["text/html"]


def test_an_export_holds_the_charts(run: fusion_nb.Run, tmp_path: Path) -> None:
    run.export(tmp_path / "out")
    card = json.loads((tmp_path / "out/card.json").read_text())
    assert {"parties.png", "cross_site.png"} <= set(card["files"])
    assert card["contributions"]["num_trainings"] == 6
    assert card["contributions"]["cross_site"] == run.contributions.cross_site
    text = (tmp_path / "out/CARD.md").read_text()
    assert "](parties.png)" in text
    assert "](cross_site.png)" in text
    run.export(tmp_path / "out", overwrite=True)


def test_a_run_that_measured_none_shows_none(trained: Any, net: Any) -> None:
    plain = trained(net())
    assert plain.result().mimebundle()["text/html"].count("<img") == 1
    assert parties_html(plain.result(), []).count("<img") == 0
    assert len(bars(plain.parties.plot(), 0)) == len(plain.parties)
    assert repr(plain.contributions).startswith("no contributions")


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_report_has_the_charts_of_each_setting(
    tmp_path: Path, workers: int, net: Any, rows: Any
) -> None:
    options = {"contribution": "leave_one_out", "unseen": 1, "parties": 4, "rounds": 1}
    made = fusion_nb.sweep(net(), rows, lr=[0.05, 0.1], seeds="0-1", workers=workers, **options)
    made.report(tmp_path / "report")
    page = (tmp_path / "report/report.html").read_text()
    assert "contributions of parties took 12 further trainings, over 4 runs" in page
    assert page.count("contribution to accuracy: 3 further trainings in all") == 2
    assert page.count("what each party contributes, and parties that never trained") == 2
    first = made.runs[0].facts
    assert first is not None
    assert first.contributions is not None
    assert first.contributions.num_trainings == 3
