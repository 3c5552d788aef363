"""Parts that tests share: a small model, small data, an IPython shell, and real data if any."""

from __future__ import annotations

import builtins
import gc
import os
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import markers
import numpy as np
import pytest

# Runs of notebooks are saved in a cache of the user's, unless a test is about that.
os.environ["FUSION_NB_CHECKPOINT"] = "off"

#: Of these files fixtures are loaded; as modules with doctests they would all have the same name.
#: The apps of Flower are for those who have it.
collect_ignore_glob = ["*/conftest.py", "*/flower_apps/*"]

DATA = Path(os.environ.get("FUSION_NB_DATA", Path(__file__).parents[2] / "shared" / "data"))
#: Commands. Doctest would import them, and with them what they register or need.
collect_ignore = ["api_reference.py", "same_curves.py", "wheel.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Let the hooks of `markers` see all files, not only those beside this one."""
    config.pluginmanager.register(markers)


def pytest_collection_finish() -> None:
    """Spare the garbage collector all modules: it would look through them hundreds of times."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    if find_spec("torch"):
        import torch

        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _interruptible() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt here and in children, also where it was ignored when the
    tests began, as in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what a test registers go with the test."""
    from fusion_nb.core import registry

    kept = {kind: dict(names) for kind, names in registry._registered.items()}
    monkeypatch.setattr(registry, "_registered", kept)


@pytest.fixture
def saved_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each round have a checkpoint of its own, as rounds that take longer have."""
    from fusion_nb.runs.checkpoints import writer_ahead

    monkeypatch.setattr(writer_ahead, "SECONDS_APART", 0.0)


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


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no picture in tests without the marker `pictures`: each takes a tenth of a second."""
    if request.node.get_closest_marker("pictures") is None:
        from fusion_nb.reporting.charts.chart import Chart

        monkeypatch.setattr(Chart, "png", b"\x89PNG")


@pytest.fixture(scope="session")
def _shell() -> Any:
    from IPython.testing.globalipapp import start_ipython

    return start_ipython()


@pytest.fixture
def ip(_shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An IPython shell with the extension loaded, in an empty folder. `ip.run(cell)` returns what
    was seen."""
    from IPython.utils.capture import capture_output

    from fusion_nb.runs.experiments import calls
    from fusion_nb.runs.session import RUNS

    monkeypatch.chdir(tmp_path)
    # A doctest leaves its last value here, and then IPython leaves its own `_` alone.
    vars(builtins).pop("_", None)
    with monkeypatch.context() as patch:
        patch.setattr(gc, "collect", int)  # which `reset` calls, and takes long in every test
        _shell.reset()
    RUNS.clear()
    calls.EXPERIMENTS.clear()
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
