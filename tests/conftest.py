"""What tests share: a small model, small data, an IPython shell, and the real data where it is
there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pytest
from browsing import CHROMIUM

# Runs of notebooks are saved in a cache of the user's, unless a test is about that.
os.environ["FUSION_NB_CHECKPOINT"] = "off"

#: Of these files fixtures are loaded; as modules with doctests they would all have the same name.
collect_ignore_glob = ["*/conftest.py"]

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CELL = (
    "from torch import nn\nmodel = nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), "
    "nn.Linear(16, 10))\n"
)
DATA = Path(os.environ.get("FUSION_NB_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    """240 rows of 5 numbers in 3 classes that a small network separates."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = rng.normal(size=(240, 5)) + np.eye(3, 5)[y] * 3
    return x.astype(np.float32), y


@pytest.fixture
def net() -> Callable[..., Any]:
    """A maker of a small network whose first weights are always the same."""
    import torch
    from torch import nn

    def make(inputs: int = 5, outputs: int = 3, *last: Any) -> nn.Module:
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, outputs), *last)

    return make


@pytest.fixture
def mnist(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the real data; the test is skipped where it is absent."""
    if not (DATA / "mnist.npz").is_file():
        pytest.skip("mnist.npz is not here: set FUSION_NB_DATA to its folder")
    monkeypatch.setenv("FUSION_NB_DATA", str(DATA))
    return DATA


@pytest.fixture(scope="session")
def _shell() -> Any:
    from IPython.testing.globalipapp import start_ipython

    return start_ipython()


@pytest.fixture
def ip(_shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An IPython shell with the extension loaded, in an empty folder. `ip.run(cell)` returns what
    was seen."""
    from IPython.utils.capture import capture_output

    from fusion_nb.runs.session import RUNS

    monkeypatch.chdir(tmp_path)
    _shell.reset()
    RUNS.clear()
    _shell.run_line_magic("load_ext", "fusion_nb")

    def run(cell: str) -> SimpleNamespace:
        with capture_output() as seen:
            done = _shell.run_cell(cell)
        return SimpleNamespace(
            error=done.error_before_exec or done.error_in_exec,
            result=done.result,
            text=seen.stdout + seen.stderr,
            outputs=[output.data for output in seen.outputs],
        )

    shell = SimpleNamespace(run=run, ns=_shell.user_ns, shell=_shell)
    yield shell
    _shell.run_line_magic("unload_ext", "fusion_nb")


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


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A JupyterLab of its own, with the tutorials in its folder."""
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
