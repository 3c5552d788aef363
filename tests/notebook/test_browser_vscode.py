"""The chart in the colours of VS Code, which lays white behind widgets in dark themes too."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from browsing import MARKS, wait
from test_browser_chart import colours, plot, tip

from fusion_nb import RunSpec
from fusion_nb.notebook.chart import RunChart
from fusion_nb.runs.run import Run

pytestmark = MARKS

PAGE = """<!doctype html>
<html style="--vscode-editor-foreground: {ink}; --vscode-editor-background: {ground};
  --jp-ui-font-color1: #222222; --jp-layout-color1: #ffffff">
<style>.cell-output-ipywidget-background {{ background: white !important }} {css}</style>
<body class="{theme}"><div class="cell-output-ipywidget-background">
<p>status</p><div id="here"></div></div></body></html>"""
#: Mounts the chart on a model that has all numbers and sends nothing.
MOUNT = """async ({esm, key, head, rows}) => {
    const numbers = Uint8Array.from(atob(rows), (each) => each.charCodeAt(0));
    const state = {key, head, rows: new DataView(numbers.buffer)};
    const model = {get: (name) => state[name], on() {}, off() {}, send() {}};
    const file = URL.createObjectURL(new Blob([esm], {type: "text/javascript"}));
    const chart = (await import(file)).default;
    chart.initialize({model});
    chart.render({model, el: document.getElementById("here")});
}"""


@pytest.mark.parametrize(
    ("theme", "ink", "ground", "fused"),
    [
        ("vscode-dark", (212, 212, 212), (30, 30, 30), (88, 180, 240)),
        ("vscode-light", (59, 59, 59), (255, 255, 255), (0, 114, 178)),
        ("vscode-high-contrast", (255, 255, 255), (0, 0, 0), (88, 180, 240)),
    ],
)
def test_the_chart_and_the_text_beside_it_follow_the_theme(
    page: Any, rows: Any, net: Any, theme: str, ink: Any, ground: Any, fused: Any
) -> None:
    run = Run(RunSpec(data="data", lr=0.1, rounds=5), {"model": net(), "data": rows})
    run.start().wait()
    chart = RunChart()
    chart.follow(run)
    state = chart.get_state()
    colour = "rgb({}, {}, {})".format
    page.set_content(
        PAGE.format(theme=theme, ink=colour(*ink), ground=colour(*ground), css=state["_css"])
    )
    about = {"esm": state["_esm"], "key": theme, "head": chart.feed.head()}
    page.evaluate(MOUNT, about | {"rows": base64.b64encode(chart.feed.whole()).decode()})
    wait(page, lambda: fused in colours(page))

    def style(selector: str, name: str) -> str:
        found = page.locator(selector).first
        return str(found.evaluate("(element, name) => getComputedStyle(element)[name]", name))

    assert style(".cell-output-ipywidget-background", "backgroundColor") == "rgba(0, 0, 0, 0)"
    assert style("p", "color") == colour(*ink)
    assert style(".fnb-chart", "color") == colour(*ink)
    plot(page, "loss").hover()
    tip(page).wait_for()
    assert style(".fnb-tip", "backgroundColor") == colour(*ground)
