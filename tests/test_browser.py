"""JupyterLab in a real browser: what a person types, sees, stops, saves and opens again.

With FUSION_NB_IMAGES=notebooks/images the pictures of README and tutorials are taken anew (`make screenshots`).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
IDLE = ".jp-Notebook-ExecutionIndicator[data-status=idle]"


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    return {"executable_path": CHROMIUM, "args": flags}


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    return {"viewport": {"width": 1180, "height": 1020}}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab of its own, with the tutorials in its folder."""
    folder = tmp_path_factory.mktemp("lab")
    work = folder / "work"
    work.mkdir()
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, 4)
        for cell in notebook.cells:  # or what was saved would be taken for what this run draws
            cell.update({"outputs": [], "execution_count": None} if cell.cell_type == "code" else {})
        nbformat.write(notebook, work / path.name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    homes = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    options = [
        *("--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=t"),
        f"--ServerApp.root_dir={work}",
    ]
    # Or a question about news lies over the notebook.
    settings = folder / "CONFIG" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    log = (folder / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", *options], env=os.environ | homes, stdout=log, stderr=log
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{url}/api?token=t").close()
                break
            except OSError:
                time.sleep(0.2)
        yield url, work
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def open_notebook(page: Any, lab: tuple[str, Path], name: str) -> None:
    page.goto(f"{lab[0]}/lab/tree/{name}?token=t&reset")
    page.wait_for_selector(IDLE, timeout=60_000)
    # The indicator is idle before there is a kernel, too, and what is run then is lost without a word.
    page.get_by_text("| Idle", exact=False).first.wait_for(timeout=60_000)
    page.wait_for_timeout(500)


def new_notebook(lab: tuple[str, Path], name: str, *cells: str) -> str:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, lab[1] / name)
    return name


def run_cells(page: Any, count: int) -> None:
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.keyboard.press("Escape")
    for _ in range(count):
        page.keyboard.press("Shift+Enter")


def keep(page: Any, name: str) -> None:
    """Take a picture of the notebook for the documentation, when asked to."""
    if folder := os.environ.get("FUSION_NB_IMAGES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(300)
        page.locator(".jp-NotebookPanel").first.screenshot(path=str(Path(folder) / name))


def test_the_quickstart_draws_and_leaves_a_result_that_survives(page: Any, lab: tuple[str, Path]) -> None:
    open_notebook(page, lab, "01_quickstart.ipynb")
    page.keyboard.press("Control+b")  # the file list takes room
    run_cells(page, 4)
    result = page.locator("figure img[alt^='Loss from']").first
    result.wait_for(timeout=90_000)
    page.wait_for_selector(IDLE, timeout=60_000)
    assert page.get_by_text("run: finished, 10 of 10 rounds").first.is_visible()
    keep(page, "quickstart.png")
    page.keyboard.press("Control+s")
    saved = lab[1] / "01_quickstart.ipynb"
    page.wait_for_timeout(2000)
    cell = next(c for c in nbformat.read(saved, 4).cells if c.source.startswith("%%fusion"))
    assert [sorted(output.data) for output in cell.outputs] == [["image/png", "text/html", "text/plain"]]

    name = "reopened.ipynb"  # elsewhere, untrusted, and with no kernel behind it
    notebook = nbformat.read(saved, 4)
    notebook.metadata.kernelspec = {"name": "gone", "display_name": "Gone"}
    nbformat.write(notebook, lab[1] / name)
    page.goto(f"{lab[0]}/lab/tree/{name}?token=t&reset")
    again = page.locator("figure img[alt^='Loss from']").first
    again.wait_for(timeout=60_000)
    assert again.evaluate("image => image.naturalWidth") == 840
    assert page.locator("figure + table th[scope=col]").count() == 5


def test_the_chart_moves_and_the_toolbar_stops_it(page: Any, lab: tuple[str, Path]) -> None:
    cell = (
        "%%fusion --rounds 100000 --lr 0.05 --name run\nfrom torch import nn\n"
        "model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))"
    )
    name = new_notebook(lab, "stop.ipynb", "%load_ext fusion_nb", cell, "print('alive', len(run.history) > 0)")
    open_notebook(page, lab, name)
    run_cells(page, 2)
    status = page.get_by_role("status").filter(has_text="left")
    status.wait_for(timeout=60_000)
    picture = page.locator("img[alt^='Loss from']")
    picture.wait_for(timeout=60_000)
    before = picture.get_attribute("alt"), status.inner_text()
    for _ in range(60):  # on a busy machine a picture is drawn every few seconds
        page.wait_for_timeout(500)
        now = picture.get_attribute("alt"), status.inner_text()
        if now[0] != before[0] and now[1] != before[1]:
            break
    else:
        raise AssertionError("chart and status stood still for 30 s")
    assert page.get_by_text("[*]:").count() == 1
    keep(page, "running.png")
    page.get_by_role("button", name="Interrupt the kernel").click()
    page.get_by_text("Interrupted: run was stopped after round").wait_for(timeout=30_000)
    page.locator("figure img[alt^='Loss from']").wait_for(timeout=30_000)
    page.keyboard.press("Shift+Enter")
    page.get_by_text("alive True").wait_for(timeout=30_000)


def test_tab_completes_and_a_typo_is_one_line(page: Any, lab: tuple[str, Path]) -> None:
    name = new_notebook(lab, "typo.ipynb", "%load_ext fusion_nb", "%fusion --rouns 3", "%fusion --split diri")
    open_notebook(page, lab, name)
    run_cells(page, 2)
    page.get_by_text("did you mean '--rounds'?").wait_for(timeout=30_000)
    assert page.get_by_text("Traceback").count() == 0
    page.locator(".jp-Notebook .jp-Cell .cm-content").nth(2).click()
    page.keyboard.press("End")
    page.keyboard.press("Tab")
    page.get_by_text("dirichlet", exact=True).first.wait_for(timeout=30_000)
