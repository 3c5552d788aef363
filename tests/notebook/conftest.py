"""Fixtures of the notebook's tests: kernels that can be interrupted, panels, and a browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, PATIENCE
from jupyter_client.manager import start_new_kernel
from panels import until

from fusion_nb import Panel
from fusion_nb.notebook.panel import launching
from fusion_nb.runs.session import RUNS

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture
def no_runs() -> Iterator[None]:
    """Begin without a run, and leave none behind."""
    RUNS.clear()
    yield
    for run in list(RUNS.values()):
        run.stop()
    RUNS.clear()
    until(lambda: not launching.is_launching())


@pytest.fixture
def namespace(net: Callable[..., Any], rows: Any) -> dict[str, Any]:
    """The variables of a notebook: a model and rows that fit it."""
    return {"model": net(), "rows": rows}


@pytest.fixture
def panel(namespace: dict[str, Any], no_runs: None) -> Panel:
    """A panel with a short run."""
    return Panel("model", "rows", namespace=namespace, rounds=3, lr=0.1)


@pytest.fixture
def long_panel(namespace: dict[str, Any], no_runs: None) -> Panel:
    """A panel with a run that does not end by itself."""
    return Panel("model", "rows", namespace=namespace, rounds=10**6, lr=0.1)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """A kernel of its own in an empty folder: its manager, and a client of it."""
    manager, client = start_new_kernel(cwd=str(tmp_path), extra_arguments=["--log-level=ERROR"])
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    return {"executable_path": CHROMIUM, "args": flags}


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    return {"viewport": {"width": 1180, "height": 1020}}


@pytest.fixture
def page(page: Any) -> Any:
    """A page of the browser, which waits as long as a busy machine may need."""
    page.set_default_timeout(PATIENCE)
    return page


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab of its own, with the tutorials in its folder."""
    import nbformat

    folder = tmp_path_factory.mktemp("lab")
    work = folder / "work"
    work.mkdir()
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, 4)
        for cell in notebook.cells:  # or what was saved would be taken for what this run draws
            cell.update(
                {"outputs": [], "execution_count": None} if cell.cell_type == "code" else {}
            )
        nbformat.write(notebook, work / path.name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    homes = {f"JUPYTER_{kind}_DIR": str(folder / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    options = [
        *("--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=t"),
        "--LabApp.expose_app_in_browser=True",  # so that a test can change the theme
        f"--ServerApp.root_dir={work}",
    ]
    # Or a question about news lies over the notebook.
    settings = folder / "CONFIG" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    log = (folder / "log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", *options],
        env=os.environ | homes,
        stdout=log,
        stderr=log,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1000):
            try:
                urllib.request.urlopen(f"{url}/api?token=t").close()
                break
            except OSError:
                time.sleep(0.2)
        yield url, work
    finally:
        server.terminate()
        server.wait(240)
        log.close()
