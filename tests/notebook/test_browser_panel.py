"""The panel in JupyterLab: configured by keyboard and mouse, watched, steered, reloaded, saved and
opened again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browsing import (
    IDLE,
    MARKS,
    cut_placeholders,
    keep,
    new_notebook,
    open_notebook,
    run_cells,
    save,
    wait,
    write,
)

pytestmark = MARKS

MODEL = (
    "from torch import nn\nmodel = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), "
    "nn.Linear(64, 10))\n"
    "%load_ext fusion_nb"
)


#: Words of the tooltip over a control.
HINTS = {
    "learning rate": "empty: the model's own",
    "data": "variable, data set",
    "rounds to add": "how many",
    "alpha": "how even",
}


def show_panel(page: Any, lab: tuple[str, Path], name: str, options: str = "") -> None:
    """Open a notebook that shows a panel, and nothing else beside it."""
    new_notebook(lab, name, MODEL, f"%fusion panel {options}", "print('alive', run.status)")
    open_notebook(page, lab, name)
    page.keyboard.press("Control+b")  # the file list takes room
    run_cells(page, 2)
    button(page, "Start").wait_for()


def button(page: Any, text: str) -> Any:
    return page.get_by_role("button", name=text, exact=True)


def field(page: Any, label: str) -> Any:
    return page.get_by_label(label, exact=True).locator("visible=true")


def status(page: Any) -> Any:
    return page.get_by_role("status").filter(has_text=" of ").filter(has_text="run")


def tab(page: Any, text: str) -> None:
    page.get_by_role("tab", name=text, exact=True).click()


def use_theme(page: Any, theme: str) -> None:
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
    )
    page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)


def chart(page: Any) -> Any:
    return page.get_by_role("slider", name="loss by round").locator("visible=true").first


def test_configure_start_pause_resume_stop_export(page: Any, lab: tuple[str, Path]) -> None:
    show_panel(page, lab, "panel.ipynb")
    # By keyboard: the order is that of reading, and a select takes what is typed.
    field(page, "split").focus()
    page.keyboard.type("dir")
    alpha = field(page, "alpha")
    alpha.wait_for()
    page.keyboard.press("Tab")
    assert alpha.evaluate("field => field === document.activeElement")
    page.keyboard.press("Control+a")
    page.keyboard.type("0.3")
    field(page, "rounds").fill("100000")
    # By mouse.
    field(page, "fusion").select_option("fedprox")
    field(page, "mu").fill("0.2")
    field(page, "learning rate").fill("fast")
    page.keyboard.press("Tab")
    page.get_by_role("alert").filter(
        has_text="learning rate fast is not allowed: give a number > 0"
    ).wait_for()
    field(page, "learning rate").fill("0.05")
    page.keyboard.press("Tab")
    page.get_by_role("alert").wait_for(state="detached")
    for label, words in HINTS.items():  # a line, a list, a number, and a component's option
        assert words in field(page, label).evaluate("e => e.closest('[title]').title")

    tab(page, "Preview")
    button(page, "Preview").click()
    page.get_by_text("rows to train on in").wait_for()
    keep(page, "panel_preview.png")
    tab(page, "Configure")

    button(page, "Start").click()
    status(page).filter(has_text="left").wait_for()
    chart(page).wait_for()
    assert page.get_by_text("bound to the variable run:").is_visible()
    places = {(place["y"], place["height"]) for place in moving(page, chart(page), 3)}
    assert len(places) == 1, "the chart stays where it is"

    button(page, "Pause").click()
    status(page).filter(has_text="paused").wait_for()
    paused = status(page).inner_text()
    tab(page, "Change")
    field(page, "learning rate").fill("0.01")
    page.keyboard.press("Tab")
    button(page, "Change from the next round on").click()
    page.get_by_text("from the next round on: learning rate 0.01").wait_for()
    assert status(page).inner_text() == paused
    tab(page, "Configure")
    button(page, "Resume").click()
    status(page).filter(has_text="running").wait_for()
    resumed = status(page).inner_text()
    wait(page, lambda: status(page).inner_text() != resumed)
    button(page, "Stop").click()
    status(page).filter(has_text="stopped").wait_for()

    tab(page, "Export")
    field(page, "folder").fill("taken")
    page.keyboard.press("Tab")
    button(page, "Export").click()
    page.get_by_text("taken/model.pt").wait_for()
    assert (lab[1] / "taken" / "CARD.md").is_file()
    cell = field(page, "as a cell").input_value()
    assert cell.startswith(
        "%fusion run --data digits --parties 4 --split dirichlet:alpha=0.3 --fusion fedprox:mu=0.2 "
    )
    keep(page, "panel_export.png")
    page.locator(".jp-Notebook .jp-Cell").nth(2).click()
    page.keyboard.press("Control+Enter")
    page.get_by_text("alive stopped").wait_for()

    saved = save(page, lab[1] / "panel.ipynb")
    assert [sorted(output.data) for output in saved.cells[1].outputs] == [
        ["application/vnd.jupyter.widget-view+json", "text/plain"],
        ["image/png", "text/html", "text/plain"],
    ]
    saved.metadata.kernelspec = {"name": "gone", "display_name": "Gone"}
    write(
        saved, lab[1] / "panel_reopened.ipynb"
    )  # elsewhere, untrusted, and with no kernel behind it
    page.goto(f"{lab[0]}/lab/tree/panel_reopened.ipynb?token=t&reset")
    again = page.locator("figure img[alt^='Loss from']").first
    again.wait_for()
    assert again.is_visible()
    assert page.locator("figure + table th[scope=col]").count() == 5
    assert page.get_by_text("%fusion run --data digits --parties 4 --split").first.is_visible()


def moving(page: Any, picture: Any, times: int) -> list[Any]:
    """Return where a chart is, each time that it has a further round."""
    places: list[Any] = []
    seen = ""
    for _ in range(times):
        wait(page, lambda seen=seen: picture.get_attribute("aria-valuetext") != seen)
        seen = picture.get_attribute("aria-valuetext")
        places.append(picture.bounding_box())
    return places


@pytest.mark.slow
def test_a_reload_in_the_middle(page: Any, lab: tuple[str, Path]) -> None:
    show_panel(page, lab, "reload.ipynb", "--rounds 100000 --lr 0.05")
    button(page, "Start").click()
    status(page).filter(has_text="left").wait_for()
    save(page, lab[1] / "reload.ipynb")
    page.reload()
    page.wait_for_selector(IDLE)
    status(page).filter(has_text="left").wait_for()
    assert len(moving(page, chart(page), 3)) == 3
    button(page, "Pause").click()
    status(page).filter(has_text="paused").wait_for()
    before = status(page).inner_text()
    button(page, "Step one round").click()
    wait(page, lambda: status(page).inner_text() != before)
    button(page, "Stop").click()
    status(page).filter(has_text="stopped").wait_for()
    # The page has lost the cell's outputs to the reload; the cell, run again, has its run and keeps
    # the result.
    cell = page.locator(".jp-Notebook .jp-Cell").nth(1)
    prompt = cell.locator(".jp-InputPrompt").first
    ran_before = prompt.inner_text()
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+Enter")
    # The status says "stopped" already, so that the cell's number shows that it ran again.
    wait(page, lambda: re.search(r"\d", prompt.inner_text()) and prompt.inner_text() != ran_before)
    page.wait_for_selector(IDLE)
    outputs = save(page, lab[1] / "reload.ipynb").cells[1].outputs
    assert outputs[-1].data["text/plain"].startswith("run: stopped, ")


@pytest.mark.parametrize(
    ("theme", "word"),
    [
        pytest.param("JupyterLab Light", "light", marks=pytest.mark.slow),
        pytest.param("JupyterLab Dark", "dark", marks=pytest.mark.slow),
    ],
)
def test_it_looks_well_in_both_themes(
    page: Any, lab: tuple[str, Path], theme: str, word: str
) -> None:
    page.set_viewport_size({"width": 900, "height": 1060})
    show_panel(
        page,
        lab,
        f"looks_{word}.ipynb",
        "--rounds 10000 --lr 0.05 --split dirichlet:alpha=0.3 --parties 6",
    )
    use_theme(page, theme)
    keep(page, f"panel_idle_{word}.png")
    button(page, "More options").click()
    button(page, "Fewer options").wait_for()
    assert not cut_placeholders(page)
    for control in page.locator(
        ".jp-OutputArea button, .jp-OutputArea input, .jp-OutputArea select"
    ).all():
        if place := control.bounding_box():
            assert (
                place["x"] + place["width"]
                <= page.locator(".jp-OutputArea").first.bounding_box()["x"] + 760
            ), place
            cut = "e => e.tagName == 'BUTTON' && e.scrollWidth > e.clientWidth + 1"
            assert not control.evaluate(cut), control.inner_text()
    button(page, "Fewer options").click()
    button(page, "Start").click()
    status(page).filter(has_text="left").wait_for()
    chart(page).wait_for()
    keep(page, f"panel_running_{word}.png")
    button(page, "Stop").click()
    status(page).filter(has_text="stopped").wait_for()
    field(page, "rounds").fill("40")
    field(page, "split").select_option("iid")
    button(page, "Start").click()
    status(page).filter(has_text="run_2: finished").wait_for()
    tab(page, "Compare")
    for name in ("run: stopped", "run_2: finished, 40 rounds of fedavg"):
        page.get_by_role("checkbox", name=name).check()
    compared = page.get_by_role("group", name="curves of several runs")
    compared.get_by_role("button", name="run_2", exact=True).wait_for()
    compared.get_by_label("horizontal axis").select_option("MB sent")
    compared.get_by_role("slider", name="accuracy by MB sent").wait_for()
    compared.get_by_label("horizontal axis").select_option("")
    keep(page, f"panel_finished_{word}.png")
    use_theme(page, "JupyterLab Light")
