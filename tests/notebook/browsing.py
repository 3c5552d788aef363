"""Helpers of tests in a real browser: they make, open, run and save notebooks."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
    pytest.mark.timeout(900),
]
#: Milliseconds after which something that never shows is given up: it only ends what hangs, also
#: on a machine with far more work than cores.
PATIENCE = 240_000
IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"


def open_notebook(page: Any, lab: tuple[str, Path], name: str) -> None:
    page.goto(f"{lab[0]}/lab/tree/{name}?token=t&reset")
    page.wait_for_selector(IDLE)
    # The indicator is idle before there is a kernel, too, and what is run then is lost without a
    # word.
    page.get_by_text("| Idle", exact=False).first.wait_for()
    page.wait_for_timeout(500)


def new_notebook(lab: tuple[str, Path], name: str, *cells: str) -> str:
    import nbformat  # here, for it takes a second to load in every process of pytest-xdist

    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    write(notebook, lab[1] / name)
    return name


def write(notebook: Any, path: Path) -> None:
    import nbformat

    nbformat.write(notebook, path)


def run_cells(page: Any, count: int) -> None:
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.keyboard.press("Escape")
    for _ in range(count):
        page.keyboard.press("Shift+Enter")


def save(page: Any, path: Path) -> Any:
    """Save the notebook, and return it as it is on disk."""
    import nbformat

    before = path.stat().st_mtime_ns
    page.keyboard.press("Control+s")
    wait(page, lambda: path.stat().st_mtime_ns != before)
    while True:
        try:
            return nbformat.read(path, 4)
        except (nbformat.reader.NotJSONError, ValueError):  # it is being written
            page.wait_for_timeout(100)


def wait(page: Any, holds: Callable[[], Any]) -> None:
    """Wait for something to become true, while the page goes on."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        page.wait_for_timeout(50)


def cut_placeholders(page: Any) -> list[str]:
    """Return the placeholders that are wider than the field in which they stand."""
    found = page.evaluate(
        """() => {
            const context = document.createElement('canvas').getContext('2d');
            return [...document.querySelectorAll('.jp-OutputArea input[placeholder]')]
                .filter((field) => field.offsetParent)
                .filter((field) => {
                    const style = getComputedStyle(field);
                    const padding = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
                    context.font = `${style.fontSize} ${style.fontFamily}`;
                    const {width} = context.measureText(field.placeholder);
                    return width > field.clientWidth - padding;
                })
                .map((field) => field.placeholder);
        }"""
    )
    return list(found)


def keep(page: Any, name: str) -> None:
    """Take a picture of the notebook for the documentation, when asked to."""
    if folder := os.environ.get("FUSION_NB_IMAGES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(300)
        page.locator(".jp-NotebookPanel").first.screenshot(path=str(Path(folder) / name))
