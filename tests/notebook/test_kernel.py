"""A real kernel, spoken to as a front end does: start, see progress, interrupt, and use the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cells import CELL
from jupyter_client.manager import start_new_kernel
from kernels import collect, execute, is_idle, shows, text


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """One kernel for all tests of this file: each waits until its cells have ended."""
    folder = str(tmp_path_factory.mktemp("kernel"))
    manager, client = start_new_kernel(cwd=folder, extra_arguments=["--log-level=ERROR"])
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_interrupt_stops_a_run_and_the_kernel_lives(kernel: Any) -> None:
    manager, client = kernel
    execute(client, "%load_ext fusion_nb")
    client.execute(f"%%fusion --rounds 100000 --lr 0.05 --name run\n{CELL}", allow_stdin=True)
    started = collect(client, shows("round", "left"))
    shown = [m["content"]["data"] for m in started if m["msg_type"] == "display_data"]
    assert "application/vnd.jupyter.widget-view+json" in shown[-1]
    manager.interrupt_kernel()
    ended = collect(client, is_idle)
    static = [m["content"]["data"] for m in ended if m["msg_type"] == "update_display_data"]
    assert set(static[-1]) == {"text/html", "image/png", "text/plain"}
    assert static[-1]["text/plain"].startswith("run: stopped, ")
    assert "Interrupted: run was stopped after round" in text(ended)
    after = execute(
        client,
        "import torch\n"
        "assert run.status == 'stopped' and 1 <= len(run.history) < 100000\n"
        "assert all(r.metrics['accuracy'] >= 0 for r in run.history)\n"
        "print('usable', tuple(run.model(torch.zeros(2, 1, 28, 28)).shape))\n"
        "before = len(run.history); run.more(1).wait(); print('goes on', len(run.history) - "
        "before)",
    )
    assert "usable (2, 10)" in text(after)
    assert "goes on 1" in text(after)


def test_a_background_run_leaves_other_cells_their_output(kernel: Any) -> None:
    _, client = kernel
    execute(client, "%load_ext fusion_nb")
    launched = execute(
        client, f"%%fusion --rounds 40 --background --name later\n{CELL}", stdin=True
    )
    parent = launched[0]["parent_header"]["msg_id"]
    shown = [m for m in launched if m["msg_type"] == "display_data"][-1]
    messages = execute(client, "print('mine')\nprint(len(later.history))")
    own = [m for m in messages if m["parent_header"].get("msg_id") != parent]
    assert text(own).split() == ["mine", "40"]
    handle = shown["content"]["transient"]["display_id"]
    updates = [m for m in messages if m["msg_type"] == "update_display_data"]
    assert updates[-1]["content"]["transient"]["display_id"] == handle
    assert updates[-1]["content"]["data"]["text/plain"].startswith(
        "later: finished, 40 of 40 rounds"
    )


def test_without_a_person_there_is_one_static_result(kernel: Any) -> None:
    _, client = kernel
    execute(client, "%load_ext fusion_nb")
    messages = execute(client, f"%%fusion --rounds 2\n{CELL}")
    displays = [
        m
        for m in messages
        if m["msg_type"] in ("display_data", "update_display_data", "execute_result")
    ]
    assert len(displays) == 1
    assert "text/html" in displays[0]["content"]["data"]
    assert not [m for m in messages if m["msg_type"] == "comm_open"]


def test_a_meaning_beside_a_completion_breaks_at_no_space(kernel: Any) -> None:
    """JupyterLab lays the rows of its list over each other where one of them is broken."""
    _, client = kernel
    execute(client, "%load_ext fusion_nb")
    for line, word in (("%fusion run --fusion fed", "fedavg"), ("%%fusion --ro", "--rounds")):
        content = client.complete(line, len(line), reply=True, timeout=240)["content"]
        types = {
            each["text"]: each["type"]
            for each in content["metadata"]["_jupyter_types_experimental"]
        }
        assert "parties'" in types[word] or "rounds" in types[word]
        assert not any(" " in meaning for meaning in types.values())


def test_a_refused_line_fails_the_cell(kernel: Any) -> None:
    _, client = kernel
    execute(client, "%load_ext fusion_nb")
    reply = client.execute_interactive(
        "%fusion --rouns 3", timeout=240, output_hook=lambda message: None
    )
    assert reply["content"]["status"] == "error"
    assert reply["content"]["ename"] == "OptionError"
    assert len(reply["content"]["traceback"]) == 2
