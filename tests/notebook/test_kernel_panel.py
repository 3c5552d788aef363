"""The panel in a real kernel, pressed as a front end does it: Stop must stop, whatever ipykernel is
there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel
from kernels import collect, execute, is_idle, is_of, shows, text

ROOT = Path(__file__).parents[2]
#: A model whose every batch takes a while and is recorded.
MODEL = """
import time
from torch import nn

events = []

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def forward(self, x):
        if self.training:
            events.append("batch")
            time.sleep(0.3)
        return self.inner(x)

model = Slow()
"""
#: One batch at a time, and more of them than any test waits for.
OPTIONS = "--rounds 1000 --engine local:workers=1"
_OLD = [
    pytest.param(version, marks=pytest.mark.slow)
    for version in ("6.31.0", "7.1.0", "7.3.0", "7.4.0")
]


@pytest.fixture(params=["installed", *_OLD])
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """A kernel of the ipykernel that is installed, or of another version, which `make test-all`
    puts into build/."""
    folder = ROOT / "build" / f"ipykernel-{request.param}"
    if request.param != "installed" and not folder.is_dir():
        pytest.skip(f"{folder.relative_to(ROOT)} is not there: make test-all makes it")
    env = os.environ | ({"PYTHONPATH": str(folder)} if request.param != "installed" else {})
    manager, client = start_new_kernel(
        cwd=str(tmp_path), extra_arguments=["--log-level=ERROR"], env=env
    )
    said = text(execute(client, "import ipykernel; print('version', ipykernel.__version__)"))
    version = said.split("version ")[1].split()[0]
    assert request.param in ("installed", version)
    yield version, (manager, client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def show_panel(client: Any, options: str = "", model: str = MODEL) -> dict[str, str]:
    """Show a panel, and return the comm of each of its buttons by its text."""
    execute(client, f"%load_ext fusion_nb\n{model}")
    shown = execute(
        client,
        f"panel = get_ipython().run_line_magic('fusion', 'panel {options}')\n"
        "panel.screen.buttons['Stop'].on_click(lambda _: events.append('stop'))\n"
        "panel",
        stdin=True,
    )
    opened = [m["content"] for m in shown if m["msg_type"] == "comm_open"]
    states = {content["comm_id"]: content["data"]["state"] for content in opened}
    assert any(
        "application/vnd.jupyter.widget-view+json" in m["content"].get("data", {}) for m in shown
    )
    return {
        s["description"]: comm for comm, s in states.items() if s["_model_name"] == "ButtonModel"
    }


def click(client: Any, comm: str, subshell: str = "") -> None:
    data = {"method": "custom", "content": {"event": "click"}, "buffers": []}
    message = client.session.msg("comm_msg", {"comm_id": comm, "data": data})
    if subshell:
        message["header"]["subshell_id"] = subshell
    client.shell_channel.send(message)


def batches_after_stop(client: Any) -> int:
    """Return how many batches began after the button's click was handled."""
    said = text(execute(client, "print('batches', len(events) - 1 - events.index('stop'))"))
    return int(said.split("batches ")[1].split()[0])


@pytest.mark.slow
def test_stop_stops_within_a_batch(kernel: Any) -> None:
    _, (_, client) = kernel
    buttons = show_panel(client, OPTIONS)
    click(client, buttons["Start"])
    collect(client, shows("parties answered"))
    click(client, buttons["Stop"])
    collect(client, shows("run: stopped"))
    assert batches_after_stop(client) <= 1
    after = execute(client, "print('state', panel.status, run is panel.run, len(run.history))")
    assert "state stopped True 0" in text(after)


def test_stop_arrives_while_a_cell_runs(kernel: Any) -> None:
    """As JupyterLab sends it since ipykernel 7: on a subshell, beside the cell that keeps the main
    one busy."""
    version, (_, client) = kernel
    if version.startswith("6"):
        pytest.skip("ipykernel 6 has no subshells: a click waits for the cell's end")
    buttons = show_panel(client, OPTIONS)
    request = client.session.msg("create_subshell_request", {})
    client.control_channel.send(request)
    while not is_of(
        reply := client.control_channel.get_msg(timeout=240), request["header"]["msg_id"]
    ):
        pass
    click(client, buttons["Start"])
    collect(client, shows("parties answered"))
    sent = client.execute("print('it waits'); panel.wait(); print('it has waited')")
    collect(client, lambda m: "it waits" in m["content"].get("text", ""))
    click(client, buttons["Stop"], reply["content"]["subshell_id"])
    stopped = collect(client, shows("run: stopped"))
    ended = collect(client, lambda m: is_idle(m) and is_of(m, sent))
    assert "it has waited" in text(stopped + ended)
    assert batches_after_stop(client) <= 1


@pytest.mark.slow
def test_an_interrupt_of_an_idle_kernel_leaves_the_run_alone(kernel: Any) -> None:
    _, (manager, client) = kernel
    buttons = show_panel(client, OPTIONS)
    click(client, buttons["Start"])
    collect(client, shows("parties answered"))
    manager.interrupt_kernel()
    collect(client, shows("parties answered"))
    assert "state running" in text(execute(client, "print('state', panel.status)"))
    click(client, buttons["Stop"])
    collect(client, shows("run: stopped"))


def test_what_a_model_prints_lands_in_the_panels_cell(kernel: Any) -> None:
    _, (_, client) = kernel
    model = MODEL.replace("time.sleep(0.3)", "print('from the thread')")
    execute(client, f"%load_ext fusion_nb\n{model}")
    shown = execute(
        client,
        "panel = get_ipython().run_line_magic('fusion', 'panel --rounds 1')\npanel",
        stdin=True,
    )
    cell = shown[0]["parent_header"]["msg_id"]
    buttons = {
        m["content"]["data"]["state"].get("description"): m["content"]
        for m in shown
        if m["msg_type"] == "comm_open"
    }
    click(client, buttons["Start"]["comm_id"])
    seen = collect(client, shows("run: finished"))
    printed = {
        m["parent_header"]["msg_id"]
        for m in seen
        if "from the thread" in m["content"].get("text", "")
    }
    assert printed == {cell}
    kept = [m for m in seen if m["msg_type"] == "update_display_data"]
    kept += [] if kept else collect(client, lambda m: m["msg_type"] == "update_display_data")
    assert "run: finished, 1 of 1 rounds" in kept[-1]["content"]["data"]["text/plain"]
