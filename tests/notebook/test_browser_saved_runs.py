"""A run whose kernel was killed, in JupyterLab: a new kernel's panel offers and resumes it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import IDLE, MARKS, keep, new_notebook, open_notebook, run_cells, wait

import fusion_nb
from fusion_nb.runs.checkpoints.folder import CheckpointFolder

pytestmark = MARKS

PREPARE = """\
%load_ext fusion_nb
%fusion checkpoint {cache}
import numpy as np
from torch import nn
rng = np.random.default_rng(0)
rows = rng.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 3
model = nn.Linear(5, 3)"""


def save_cut_short(cache: Path, name: str) -> Path:
    """Save a run in the cache that has lost its last rounds, and return its folder."""
    from torch import nn

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 3
    folder = CheckpointFolder(cache / name)
    fusion_nb.federate(
        nn.Linear(5, 3),
        rows,
        name=name,
        parties=2,
        rounds=12,
        checkpoint=f"{folder.path}:keep=12",
    )
    for path in folder.rounds()[5:]:
        shutil.rmtree(path)
    for about in folder.path.glob("*/checkpoint.json"):
        # As a cell saves it: by the names of its variables.
        text = about.read_text().replace("given_model", "model").replace("given_data", "rows")
        about.write_text(text)
    return folder.path


@pytest.mark.parametrize(
    ("theme", "word"),
    [
        ("JupyterLab Light", "light"),
        ("JupyterLab Dark", "dark"),
    ],
)
@pytest.mark.slow
def test_a_new_kernel_resumes_and_discards_runs_that_were_cut_short(
    page: Any, lab: tuple[str, Path], tmp_path: Path, theme: str, word: str
) -> None:
    page.set_viewport_size({"width": 1024, "height": 700})
    first, second = (save_cut_short(tmp_path, name) for name in ("first", "second"))
    look = "print(second.status, len(second.records))"
    cells = PREPARE.format(cache=tmp_path), "%fusion panel", look
    new_notebook(lab, f"saved_{word}.ipynb", *cells)
    open_notebook(page, lab, f"saved_{word}.ipynb")
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme
    )
    page.keyboard.press("Control+b")  # the file list takes room
    run_cells(page, 2)
    offer = page.get_by_role("status").filter(has_text="cut short")
    offer.filter(has_text="second was cut short after round 5 of 12").wait_for(timeout=60_000)
    page.wait_for_selector(IDLE, timeout=60_000)
    keep(page, f"panel_saved_{word}.png")
    panel = page.locator(".jp-OutputArea").locator("visible=true").last.bounding_box()
    for name in ("Resume saved run", "Discard saved run"):
        place = page.get_by_role("button", name=name, exact=True).bounding_box()
        assert place["x"] + place["width"] <= panel["x"] + panel["width"]

    page.get_by_label("saved runs", exact=True).select_option(index=1)
    offer.filter(has_text="first was cut short").wait_for(timeout=10_000)
    page.get_by_role("button", name="Discard saved run", exact=True).click()
    page.get_by_role("button", name="Discard for good", exact=True).wait_for(timeout=10_000)
    keep(page, f"panel_saved_asks_{word}.png")
    page.get_by_role("button", name="Discard for good", exact=True).click()
    wait(page, lambda: not first.exists())
    offer.filter(has_text="second was cut short").wait_for(timeout=10_000)
    choice = page.get_by_label("saved runs", exact=True).locator("visible=true")
    wait(page, lambda: choice.count() == 0)  # it goes by a message of its own

    page.get_by_role("button", name="Resume saved run", exact=True).click()
    page.get_by_role("status").filter(has_text="second: finished, round 12 of 12").wait_for(
        timeout=60_000
    )
    offer.wait_for(state="detached", timeout=10_000)
    page.locator(".fnb-chart").locator("visible=true").first.wait_for(timeout=30_000)
    keep(page, f"panel_saved_resumed_{word}.png")
    assert (second / "round-000012").is_dir()
    page.locator(".jp-Notebook .jp-Cell").nth(2).click()
    page.keyboard.press("Control+Enter")
    page.get_by_text("finished 12", exact=True).wait_for(timeout=30_000)
