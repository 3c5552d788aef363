"""Private runs in JupyterLab: accuracy against epsilon, on the live chart and in pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browsing import MARKS, keep, new_notebook, open_notebook, run_cells, wait
from test_browser_chart import tip, use_theme

pytestmark = MARKS

PREPARE = """%load_ext fusion_nb
from torch import nn
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))"""
TRAIN = (
    "%fusion run --privacy central:clip=1,noise={noise},delta=1e-3 --report none --name {name} "
    "{more}--parties 100 --rounds 20 --epochs 5 --batch-size 8 --lr 0.05"
)


@pytest.mark.slow
def test_accuracy_against_epsilon(page: Any, lab: tuple[str, Path]) -> None:
    pytest.importorskip("dp_accounting")
    loud = TRAIN.format(noise=8, name="loud", more="--quiet ")
    quiet = TRAIN.format(noise=4, name="quiet", more="")
    new_notebook(
        lab, "epsilon.ipynb", PREPARE, quiet, loud, 'quiet.plot("epsilon")', "%fusion compare"
    )
    open_notebook(page, lab, "epsilon.ipynb")
    page.keyboard.press("Control+b")  # the file list takes room
    run_cells(page, 2)
    page.get_by_text("quiet: finished, 20 of 20 rounds").first.wait_for()
    # The live chart offers the axis, and tells epsilon at the pointer and by keyboard.
    page.locator("figure .fnb-chart").wait_for()
    page.get_by_label("horizontal axis").first.select_option("epsilon")
    plot = page.get_by_role("slider", name="accuracy by epsilon").first
    plot.hover()
    tip(page).wait_for()
    assert re.search(r"epsilon [.\d]+\s+loss\s+accuracy", tip(page).inner_text())
    plot.focus()
    page.keyboard.press("End")
    spent = re.search(r"epsilon ([.\d]+) at delta", page.locator("figure").first.inner_text())
    assert spent is not None
    told = f"epsilon {float(spent[1]):.3g}"
    wait(page, lambda: str(plot.get_attribute("aria-valuetext")).startswith(told))
    page.keyboard.press("Escape")
    select(page, 0)  # or the chart that has the focus is framed
    in_both_themes(page, "epsilon_live", "light")
    # The pictures of one run, and of two.
    select(page, 2)
    for _ in range(3):
        page.keyboard.press("Shift+Enter")
    for words in ("over 20 rounds, epsilon up to", "loud: "):
        page.locator(f"img[alt*='{words}']").last.wait_for()
    page.locator("img[alt*='loud: ']").last.scroll_into_view_if_needed()
    in_both_themes(page, "epsilon_compared", "dark")


def select(page: Any, number: int) -> None:
    """Select a cell, and leave its editor."""
    page.locator(".jp-Notebook .jp-Cell .jp-InputPrompt").nth(number).click()
    page.keyboard.press("Escape")


def in_both_themes(page: Any, name: str, kept: str) -> None:
    """Show the page dark and light, and take a picture of the one that is kept."""
    for theme, word in (("JupyterLab Dark", "dark"), ("JupyterLab Light", "light")):
        use_theme(page, theme)
        if word == kept:
            keep(page, f"{name}_{word}.png")
