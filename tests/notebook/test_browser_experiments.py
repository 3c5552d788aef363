"""Experiments in JupyterLab: bands on the live chart, and the panel's tab."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browsing import MARKS, cut_placeholders, keep, new_notebook, open_notebook, run_cells, wait
from test_browser_chart import PREPARE, plot, tip
from test_browser_panel import button, field, show_panel, tab

pytestmark = MARKS

REPEAT = (
    "%fusion run --data rows --fusion fedavg --rounds 12 --parties 4 --split dirichlet:alpha=0.5 "
    "--seeds 0-3 --name repeated\n"
)


@pytest.mark.slow
def test_seeds_are_drawn_with_their_band(page: Any, lab: tuple[str, Path]) -> None:
    new_notebook(lab, "seeds.ipynb", PREPARE, REPEAT)
    open_notebook(page, lab, "seeds.ipynb")
    page.keyboard.press("Control+b")
    run_cells(page, 2)
    page.get_by_text("finished, 4 runs").first.wait_for()
    page.get_by_text("mean ± standard deviation").first.wait_for()
    # The pointer tells the mean and its band, and the runs are one click away.
    plot(page, "accuracy").hover()
    tip(page).wait_for()
    assert re.search(r"mean of all runs\s+\S+", tip(page).inner_text())
    page.get_by_role("button", name="runs", exact=True).first.click()
    plot(page, "accuracy").hover()
    wait(page, lambda: "seed 3" in tip(page).inner_text())
    page.get_by_role("button", name="table", exact=True).first.click()
    page.get_by_role("table").filter(has_text="mean").first.wait_for()


def test_the_panels_tab_trains_and_ranks(page: Any, lab: tuple[str, Path]) -> None:
    page.set_viewport_size({"width": 1024, "height": 700})
    show_panel(page, lab, "experiment.ipynb", "--rounds 5")
    assert not cut_placeholders(page)
    tab(page, "Experiment")
    field(page, "workers").wait_for()
    assert not cut_placeholders(page)
    values = page.get_by_label("values", exact=True).locator("visible=true")
    values.nth(0).fill("fedavg,fedprox:mu=[0.1,1]")
    values.nth(1).fill("0.05, 0.1")
    field(page, "seeds").fill("0-1")
    page.keyboard.press("Tab")
    page.get_by_text("2 seeds: 12 runs").wait_for()
    keep(page, "panel_experiment.png")
    button(page, "Start experiment").click()
    page.get_by_text("finished, 12 runs").first.wait_for()
    page.get_by_text("fedprox:mu=0.1, lr 0.05").first.wait_for()
    assert "--seeds 0,1" in field(page, "as a sweep").input_value()
    field(page, "seeds").fill("none")
    page.keyboard.press("Tab")
    page.get_by_role("alert").filter(has_text="seeds none is not allowed").wait_for()
    best = re.search(r"lr ([.\d]+)", page.get_by_text("best accuracy").first.inner_text())
    button(page, "Take the best's options").click()
    tab(page, "Configure")
    assert best is not None
    wait(page, lambda: field(page, "learning rate").input_value() == best[1])
