"""The chart's JavaScript in an empty page, without JupyterLab: the words that it draws."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from browsing import MARKS

import fusion_nb
from fusion_nb import RunSpec
from fusion_nb.notebook.chart import RunChart

pytestmark = [*MARKS, pytest.mark.usefixtures("no_runs")]

#: Shows the chart as a front end would, and keeps each word that is drawn with its place.
SHOW = """async ({script, css, head, rows}) => {
    window.drawn = [];
    const {fillText, clearRect} = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (text, x, y) {
        window.drawn.push({text, x, y, canvas: this.canvas});
        fillText.call(this, text, x, y);
    };
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        window.drawn = window.drawn.filter(({canvas}) => canvas !== this.canvas);
        clearRect.call(this, ...box);
    };
    const bytes = Uint8Array.from(atob(rows), (letter) => letter.charCodeAt(0));
    const state = {key: 'one', head, rows: new DataView(bytes.buffer)};
    const model = {get: (name) => state[name], on() {}, off() {}, send() {}};
    const style = document.createElement('style');
    style.textContent = css;
    document.head.append(style);
    const url = URL.createObjectURL(new Blob([script], {type: 'text/javascript'}));
    const widget = (await import(url)).default;
    widget.render({model, el: document.body});
}"""


def show(page: Any, chart: RunChart) -> None:
    state = chart.get_state()
    page.set_content("<body style='width: 900px'></body>")
    about = {
        "script": state["_esm"],
        "css": state["_css"],
        "head": state["head"],
        "rows": base64.b64encode(state["rows"]).decode(),
    }
    page.evaluate(SHOW, about)
    page.get_by_role("slider", name="loss by round").wait_for()


def ticks(page: Any, metric: str = "loss") -> list[str]:
    """The numbers that stand at the vertical axis of a metric, once they are drawn."""
    found = """metric => {
        const plot = document.querySelector(`[role=slider][aria-label^=${metric}]`);
        const here = window.drawn.filter(({canvas}) => plot.contains(canvas));
        const left = Math.min(...here.map(({x}) => x));
        const names = here.filter(({x}) => x === left).map(({text}) => text);
        return names.length ? names : null;
    }"""
    return list(page.wait_for_function(found, arg=metric).json_value())


def words(page: Any) -> set[str]:
    return set(page.evaluate("() => window.drawn.map(({text}) => text)"))


def trained(namespace: dict[str, Any], **options: Any) -> fusion_nb.Run:
    spec = RunSpec(data="rows", **{"rounds": 3, "lr": 0.1, **options})
    return fusion_nb.Run(spec, namespace).start().wait()


def with_losses(run: fusion_nb.Run, losses: Sequence[float]) -> RunChart:
    """A chart of a run whose fused model alone was measured, with these losses."""
    rounds = [
        replace(record, metrics={"loss": loss, "accuracy": 0.5}, party_metrics={})
        for record, loss in zip(run.history, losses, strict=True)
    ]
    run.federation.history[:] = rounds
    chart = RunChart()
    chart.follow(run)
    return chart


@pytest.mark.parametrize(
    "losses",
    [
        pytest.param((0.69612, 0.69615, 0.69619), id="little apart"),
        pytest.param((123_456.0, 123_457.0, 123_459.0), id="large, and little apart"),
        pytest.param((5.1e9, 5.4e9, 6.2e9), id="very large"),
        pytest.param((1.1e-7, 1.2e-7, 1.9e-7), id="very small"),
        pytest.param((-0.00031, 0.00012, 0.00024), id="around zero"),
    ],
)
def test_an_axis_tells_its_numbers_apart_and_the_pointer_those_of_rounds(
    page: Any, namespace: dict[str, Any], losses: Sequence[float]
) -> None:
    show(page, with_losses(trained(namespace), losses))
    numbers = ticks(page)
    assert len(numbers) >= 3
    assert len(set(numbers)) == len(numbers)
    axis = [float(each.replace("−", "-")) for each in numbers]
    assert min(axis) <= min(losses)
    assert max(losses) <= max(axis)
    plot = page.get_by_role("slider", name="loss by round")
    plot.focus()
    told = []
    for key in ("Home", "ArrowRight", "End"):
        page.keyboard.press(key)
        plot.and_(page.locator(f"[aria-valuenow='{len(told) + 1}']")).wait_for()
        told.append(plot.get_attribute("aria-valuetext").rpartition(" ")[2])
    assert [float(each) for each in told] == pytest.approx(losses, rel=1e-2)
    assert len(set(told)) == 3, "each round has another loss, and so it is told"


def test_a_number_is_rounded_as_in_the_tables_below(page: Any, namespace: dict[str, Any]) -> None:
    losses = (0.3125, 0.4375, 0.0625)  # shares of 16 rows, which end in a half at the third digit
    show(page, with_losses(trained(namespace), losses))
    page.get_by_role("button", name="table", exact=True).click()
    found = page.locator(".fnb-table tbody td:nth-of-type(1)").all_inner_texts()
    assert found == [f"{loss:.3f}" for loss in reversed(losses)]


def test_each_change_is_named_also_where_another_one_is_near(
    page: Any, namespace: dict[str, Any]
) -> None:
    changes = "3:lr=0.01;5:epochs=2;18:fusion=fedprox:mu=0.1"
    chart = RunChart()
    chart.follow(trained(namespace, rounds=20, changes=changes))
    show(page, chart)
    assert ticks(page)
    assert {"lr 0.01", "epochs 2", "fusion fedprox:mu=0.1"} <= words(page)


def test_a_small_cost_has_numbers_of_its_own_at_the_axis(
    page: Any, namespace: dict[str, Any]
) -> None:
    run = trained(namespace, rounds=4)
    sent = [0.4e-3, 0.7e-3, 1.1e-3, 1.6e-3]  # in megabytes, so far
    rounds = [
        replace(record, bytes_up=int((now - before) * 1e6), bytes_down=0)
        for record, before, now in zip(run.history, [0, *sent], sent, strict=False)
    ]
    run.federation.history[:] = rounds
    chart = RunChart()
    chart.follow(run)
    show(page, chart)
    page.get_by_label("horizontal axis").select_option("MB sent")
    page.get_by_role("slider", name="loss by MB sent").wait_for()
    page.wait_for_function("() => window.drawn.some(({text}) => text === 'MB sent')")
    below = page.evaluate(
        """() => {
            const {y, canvas} = window.drawn.find(({text}) => text === 'MB sent');
            const isBeside = (at) => at.canvas === canvas && at.y === y;
            return window.drawn.filter(isBeside).map(({text}) => text);
        }"""
    )
    numbers = [each for each in below if each != "MB sent"]
    assert len(numbers) >= 3
    assert len(set(numbers)) == len(numbers)
