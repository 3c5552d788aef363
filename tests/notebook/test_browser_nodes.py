"""The panel in JupyterLab with a run over nodes of Flower, each a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import MARKS, keep
from test_browser_panel import button, chart, show_panel, status, tab

pytest.importorskip("flwr")
pytestmark = MARKS


@pytest.mark.slow
def test_a_run_over_three_nodes(page: Any, lab: tuple[str, Path]) -> None:
    show_panel(
        page,
        lab,
        "nodes.ipynb",
        "--engine flower:nodes=3 --parties 3 --split dirichlet:alpha=0.5 --rounds 40 --lr 0.05",
    )
    button(page, "Start").click()
    status(page).filter(has_text="left").wait_for()
    chart(page).wait_for()
    page.get_by_text("a SuperLink of Flower and 3 nodes").first.wait_for()
    page.get_by_text("6 of 40").first.wait_for()
    keep(page, "panel_three_nodes.png")
    button(page, "Stop").click()
    status(page).filter(has_text="stopped").wait_for()
    tab(page, "Configure")
