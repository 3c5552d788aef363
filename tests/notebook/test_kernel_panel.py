"""The panel in a real kernel, pressed as a front end does it: Stop must stop, whatever ipykernel is
there."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel
from test_kernel import collect, execute, is_idle, text

ROOT = Path(__file__).parents[1]
#: Seconds of a batch of the model below.
BATCH = 0.3
MODEL = f"""
import time
from torch import nn

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

    def forward(self, x):
        if self.training:
            time.sleep({BATCH})
        return self.inner(x)

model = Slow()
"""
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


def show_panel(client: Any, options: str = "") -> dict[str, str]:
    """Show a panel, and return the comm of each of its buttons by its text."""
    execute(client, f"%load_ext fusion_nb\n{MODEL}")
    shown = execute(
        client,
        f"panel = get_ipython().run_line_magic('fusion', 'panel {options}')\npanel",
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


def says(words: str) -> Any:
    """Return a predicate: some widget was given HTML with these words."""

    def holds(message: dict[str, Any]) -> bool:
        state = (
            message["content"].get("data", {}).get("state", {})
            if message["msg_type"] == "comm_msg"
            else {}
        )
        return words in str(state.get("value", ""))

    return holds


def test_stop_stops_within_a_batch_and_a_second(kernel: Any) -> None:
    _, (_, client) = kernel
    buttons = show_panel(client, "--rounds 1000")
    click(client, buttons["Start"])
    collect(client, says("parties answered"))
    begun = time.monotonic()
    click(client, buttons["Stop"])
    collect(client, says("run: stopped"))
    assert time.monotonic() - begun < BATCH + 1
    after = execute(client, "print('state', panel.status, run is panel.run, len(run.history))")
    assert "state stopped True 0" in text(after)


def test_stop_arrives_while_a_cell_runs(kernel: Any) -> None:
    """As JupyterLab sends it since ipykernel 7: on a subshell, beside the cell that keeps the main
    one busy."""
    version, (_, client) = kernel
    if version.startswith("6"):
        pytest.skip("ipykernel 6 has no subshells: a click waits for the cell's end")
    buttons = show_panel(client, "--rounds 1000")
    request = client.session.msg("create_subshell_request", {})
    client.control_channel.send(request)
    while (reply := client.control_channel.get_msg(timeout=10))["parent_header"][
        "msg_id"
    ] != request["msg_id"]:
        pass
    click(client, buttons["Start"])
    collect(client, says("parties answered"))
    sent = client.execute("panel.wait(); print('waited')")
    time.sleep(0.5)
    begun = time.monotonic()
    click(client, buttons["Stop"], reply["content"]["subshell_id"])
    stopped = collect(client, says("run: stopped"))
    assert time.monotonic() - begun < BATCH + 1
    ended = collect(client, lambda m: is_idle(m) and m["parent_header"].get("msg_id") == sent)
    assert "waited" in text(stopped + ended)


def test_an_interrupt_of_an_idle_kernel_leaves_the_run_alone(kernel: Any) -> None:
    _, (manager, client) = kernel
    buttons = show_panel(client, "--rounds 1000")
    click(client, buttons["Start"])
    collect(client, says("parties answered"))
    manager.interrupt_kernel()
    collect(client, says("parties answered"))
    assert "state running" in text(execute(client, "print('state', panel.status)"))
    click(client, buttons["Stop"])
    collect(client, says("run: stopped"))


def test_what_a_model_prints_lands_in_the_panels_cell(kernel: Any) -> None:
    _, (_, client) = kernel
    execute(client, "%load_ext fusion_nb")
    execute(client, MODEL.replace("time.sleep(0.3)", "print('from the thread')"))
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
    seen = collect(client, says("run: finished"))
    printed = {
        m["parent_header"]["msg_id"]
        for m in seen
        if "from the thread" in m["content"].get("text", "")
    }
    assert printed == {cell}
    kept = [m for m in seen if m["msg_type"] == "update_display_data"]
    kept += [] if kept else collect(client, lambda m: m["msg_type"] == "update_display_data")
    assert "run: finished, 1 of 1 rounds" in kept[-1]["content"]["data"]["text/plain"]
