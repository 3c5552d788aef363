"""The chart in JupyterLab: by pointer and keyboard, in both themes, and with many points."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browsing import MARKS, new_notebook, open_notebook, run_cells, save, wait

pytestmark = MARKS

PREPARE = """%load_ext fusion_nb
import numpy as np
from torch import nn
from fusion_nb.notebook.chart import LiveChart
y = np.arange(240) % 3
rows = (np.random.default_rng(0).normal(size=(240, 5)) + np.eye(3, 5)[y] * 3).astype("f"), y
model = nn.Linear(5, 3)
"""
TRAIN = "%fusion run --data rows --rounds {rounds} --parties {parties} --quiet --name run\n"
SHOW = "live = LiveChart()\nlive.follow(run)\nlive.box"
#: Seconds that most frames may take while 100,000 rounds are drawn and the pointer moves.
FRAME = 0.1


def show_chart(page: Any, lab: tuple[str, Path], name: str, *, parties: int = 4) -> None:
    """Open a notebook with the chart of a run that has ended."""
    cells = (PREPARE, TRAIN.format(rounds=12, parties=parties), SHOW, "live.box")
    new_notebook(lab, name, *cells)
    open_notebook(page, lab, name)
    page.keyboard.press("Control+b")  # the file list takes room
    run_cells(page, 3)
    plot(page, "loss").wait_for()


def plot(page: Any, metric: str) -> Any:
    return page.get_by_role("slider", name=f"{metric} by round").first


def chip(page: Any, name: str) -> Any:
    return page.get_by_role("toolbar", name="curves").first.get_by_role(
        "button", name=name, exact=True
    )


def tip(page: Any) -> Any:
    return page.locator(".fnb-tip").first


def told(page: Any, metric: str = "loss") -> str:
    return str(plot(page, metric).get_attribute("aria-valuetext"))


def colours(page: Any) -> set[tuple[int, ...]]:
    """The colours of all pixels of the first chart that are not see-through."""
    found = (
        plot(page, "loss")
        .locator("canvas")
        .first.evaluate(
            """canvas => {
            const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const found = new Set();
            for (let i = 0; i < data.length; i += 4)
                if (data[i + 3] > 250) found.add(data.slice(i, i + 3).join());
            return [...found];
        }"""
        )
    )
    return {tuple(map(int, each.split(","))) for each in found}


def use_theme(page: Any, theme: str) -> None:
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
    )
    page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)


def test_by_pointer_and_keyboard_in_both_themes(page: Any, lab: tuple[str, Path]) -> None:
    show_chart(page, lab, "chart.ipynb")
    # The pointer shows the round, and every value with its name.
    plot(page, "accuracy").hover()
    tip(page).wait_for()
    shown = tip(page).inner_text()
    assert re.search(r"round \d+\s+loss\s+accuracy", shown)
    assert all(name in shown for name in ("fused", "party 1", "party 4"))
    assert tip(page).locator("svg line").count() == 5, "each name stands beside a piece of curve"
    # The legend shows and hides, by mouse and by keyboard, and the pointer forgets nothing.
    chip(page, "party 2").click()
    plot(page, "accuracy").hover()
    wait(page, lambda: "party 2" not in tip(page).inner_text())
    chip(page, "fused").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait(page, lambda: chip(page, "party 2").get_attribute("aria-pressed") == "true")
    page.keyboard.press("Shift+Enter")
    wait(page, lambda: chip(page, "fused").get_attribute("aria-pressed") == "false")
    page.keyboard.press("Shift+Enter")
    wait(page, lambda: chip(page, "fused").get_attribute("aria-pressed") == "true")
    assert page.locator(".jp-Notebook.jp-mod-editMode").count() == 0, "Enter stayed in the chart"
    # Arrow keys go from round to round, + zooms, and Escape shows all again.
    plot(page, "loss").focus()
    page.keyboard.press("Home")
    wait(page, lambda: told(page).startswith("round 1: fused "))
    page.keyboard.press("ArrowRight")
    wait(page, lambda: told(page).startswith("round 2: fused "))
    page.keyboard.press("+")
    whole = page.get_by_role("button", name="whole range").first
    whole.wait_for()
    page.keyboard.press("Escape")
    whole.wait_for(state="hidden")
    # Dragging zooms too, and the table tells all to a screen reader.
    box = plot(page, "loss").bounding_box()
    page.mouse.move(box["x"] + 120, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 240, box["y"] + 60, steps=4)
    page.mouse.up()
    whole.click()
    page.get_by_role("button", name="table", exact=True).first.click()
    table = page.locator(".fnb-table table").first
    table.wait_for()
    assert table.locator("tbody tr").count() == 12
    assert table.locator("thead th[scope=col]").count() == 1 + 2 * 5
    page.get_by_role("button", name="table", exact=True).first.click()
    page.get_by_role("button", name="logarithmic axis of loss").first.click()
    # A second view of the same widget has all rounds.
    run_cells(page, 0)
    page.locator(".jp-Notebook .jp-Cell").nth(3).click()
    page.keyboard.press("Control+Enter")
    wait(page, lambda: page.locator(".fnb-chart").count() == 2)
    second = page.get_by_role("slider", name="loss by round").nth(1)
    wait(page, lambda: str(second.get_attribute("aria-valuetext")).startswith("round 12: "))
    # Colours are those of the page.
    plot(page, "loss").scroll_into_view_if_needed()
    fused = {"light": (0, 114, 178), "dark": (88, 180, 240)}
    wait(page, lambda: fused["light"] in colours(page))
    use_theme(page, "JupyterLab Dark")
    wait(page, lambda: fused["dark"] in colours(page))
    use_theme(page, "JupyterLab Light")
    wait(page, lambda: fused["light"] in colours(page))


@pytest.mark.slow
def test_without_its_javascript_a_picture_takes_its_place(page: Any, lab: tuple[str, Path]) -> None:
    page.route("**/extensions/anywidget/**", lambda route: route.abort())
    cell = (
        "%%fusion --rounds 100000 --lr 0.05 --name run\nfrom torch import nn\n"
        "model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))"
    )
    name = new_notebook(lab, "no_widget.ipynb", "%load_ext fusion_nb", cell)
    open_notebook(page, lab, name)
    run_cells(page, 2)
    page.locator("img[alt^='Loss from']").locator("visible=true").wait_for()
    page.get_by_role("button", name="Interrupt the kernel").click()
    page.locator("figure img[alt^='Loss from']").wait_for()


@pytest.mark.slow
def test_a_page_that_was_loaded_again_keeps_the_chart_of_a_run_that_ends(
    page: Any, lab: tuple[str, Path]
) -> None:
    cell = "%fusion run --data rows --rounds 1000000 --background --name run"
    new_notebook(lab, "again.ipynb", PREPARE, cell, "ended = run.stop()")
    open_notebook(page, lab, "again.ipynb")
    run_cells(page, 2)
    wait(page, lambda: "round 2" in told(page))
    save(page, lab[1] / "again.ipynb")
    page.reload()
    plot(page, "loss").wait_for()
    plot(page, "loss").hover()
    tip(page).wait_for()
    page.locator(".jp-Notebook .jp-Cell").nth(2).click()
    page.keyboard.press("Control+Enter")
    page.get_by_text("show the run's variable in a cell").wait_for()
    assert page.locator(".jp-Cell").nth(1).locator(".fnb-chart").count() == 1
    plot(page, "loss").hover()
    tip(page).wait_for()
    # Run once more, the cell has a chart of its own alone.
    page.locator(".jp-Notebook .jp-Cell").nth(1).click()
    page.keyboard.press("Control+Enter")
    wait(page, lambda: "round 2" in told(page))
    assert page.locator(".jp-Cell").nth(1).locator(".fnb-chart").count() == 1


@pytest.mark.slow
def test_a_hundred_thousand_rounds_stay_fluid(page: Any, lab: tuple[str, Path]) -> None:
    many = (
        "from dataclasses import replace\nfirst = run.federation.history[-1]\n"
        "run.federation.history.extend(replace(first, round=i) for i in range(13, 100_001))\n"
    )
    cells = (PREPARE, TRAIN.format(rounds=12, parties=8) + many, SHOW)
    new_notebook(lab, "many.ipynb", *cells)
    open_notebook(page, lab, "many.ipynb")
    run_cells(page, 3)
    plot(page, "loss").wait_for()
    wait(page, lambda: told(page).startswith("round 100,000: "))
    box = plot(page, "loss").bounding_box()
    page.evaluate(
        """() => {
            window.frames_ = []; let last = performance.now();
            const next = now => { window.frames_.push(now - last); last = now;
                requestAnimationFrame(next); };
            requestAnimationFrame(next);
        }"""
    )
    for i in range(60):
        page.mouse.move(box["x"] + 60 + 4 * i, box["y"] + 80)
    page.keyboard.press("+")
    frames = sorted(page.evaluate("window.frames_"))
    assert frames[len(frames) // 2] < 1000 * FRAME
