"""JupyterLab in a real browser: what a person types, sees, stops, saves and opens again.

With FUSION_NB_IMAGES=notebooks/images the pictures of README and tutorials are taken anew (`make
screenshots`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browsing import IDLE, MARKS, keep, new_notebook, open_notebook, run_cells, save, wait, write

pytestmark = MARKS


def test_the_quickstart_draws_and_leaves_a_result_that_survives(
    page: Any, lab: tuple[str, Path]
) -> None:
    page.set_viewport_size({"width": 1180, "height": 1140})  # the table of parties is in sight
    open_notebook(page, lab, "01_quickstart.ipynb")
    page.keyboard.press("Control+b")  # the file list takes room
    run_cells(page, 5)
    # The picture of the saved notebook is there, and in this page the chart stays over it.
    page.locator("figure img[alt^='Loss from']").first.wait_for(state="attached")
    page.locator("figure .fnb-chart").wait_for()
    page.wait_for_selector(IDLE)
    assert page.get_by_text("run: finished, 10 of 10 rounds").first.is_visible()
    keep(page, "quickstart.png")
    notebook = save(page, lab[1] / "01_quickstart.ipynb")
    cell = next(c for c in notebook.cells if c.source.startswith("%%fusion"))
    assert [sorted(output.data) for output in cell.outputs] == [
        ["image/png", "text/html", "text/plain"]
    ]

    name = "reopened.ipynb"  # elsewhere, untrusted, and with no kernel behind it
    notebook.metadata.kernelspec = {"name": "gone", "display_name": "Gone"}
    write(notebook, lab[1] / name)
    page.goto(f"{lab[0]}/lab/tree/{name}?token=t&reset")
    again = page.locator("figure img[alt^='Loss from']").first
    again.wait_for()
    assert again.evaluate("image => image.naturalWidth") == 840
    assert page.locator("figure + table th[scope=col]").count() == 5


@pytest.mark.slow
def test_the_chart_moves_and_the_toolbar_stops_it(page: Any, lab: tuple[str, Path]) -> None:
    cell = (
        "%%fusion --rounds 100000 --lr 0.05 --name run\nfrom torch import nn\n"
        "model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))"
    )
    name = new_notebook(
        lab, "stop.ipynb", "%load_ext fusion_nb", cell, "print('alive', len(run.history) > 0)"
    )
    open_notebook(page, lab, name)
    run_cells(page, 2)
    status = page.get_by_role("status").filter(has_text="left")
    status.wait_for()
    plot = page.get_by_role("slider", name="accuracy by round")
    plot.wait_for()
    before = plot.get_attribute("aria-valuetext"), status.inner_text()
    wait(page, lambda: plot.get_attribute("aria-valuetext") != before[0])
    wait(page, lambda: status.inner_text() != before[1])
    assert page.get_by_text("[*]:").count() == 1
    keep(page, "running.png")
    page.get_by_role("button", name="Interrupt the kernel").click()
    page.get_by_text("Interrupted: run was stopped after round").wait_for()
    page.locator("figure .fnb-chart").wait_for()
    page.keyboard.press("Shift+Enter")
    page.get_by_text("alive True").wait_for()


@pytest.mark.slow
def test_tab_completes_and_a_typo_is_one_line(page: Any, lab: tuple[str, Path]) -> None:
    name = new_notebook(
        lab, "typo.ipynb", "%load_ext fusion_nb", "%fusion --rouns 3", "%fusion --split diri"
    )
    open_notebook(page, lab, name)
    run_cells(page, 2)
    page.get_by_text("did you mean '--rounds'?").wait_for()
    assert page.get_by_text("Traceback").count() == 0
    page.locator(".jp-Notebook .jp-Cell .cm-content").nth(2).click()
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    page.get_by_text("dirichlet", exact=True).first.wait_for()
