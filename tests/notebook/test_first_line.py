"""The line that a cell shows at once, before anything is imported, read or probed for its run."""

from __future__ import annotations

from typing import Any

import pytest
from cells import CELL
from kernels import execute, text

from fusion_nb.notebook import first_line, kernel
from fusion_nb.notebook.first_line import FirstLine

#: Notes of each thing shown whether the commands, and with them all that they import, were there.
WATCH = """
import sys
from IPython import get_ipython
loaded = []
def note(message):
    loaded.append("fusion_nb.notebook.commands" in sys.modules)
    return message
get_ipython().display_pub.register_hook(note)
%load_ext fusion_nb
"""


class Cell:
    """Stands for the cell that is running: its text, its execution, and a person who looks on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, source: str, *, looks_on: bool = True):
        self.shown: list[Any] = []
        self.execution = "first"
        monkeypatch.setattr(kernel, "cell_source", lambda: source)
        monkeypatch.setattr(kernel, "draws_widgets", lambda: looks_on)
        cells = type("Cells", (), {"current_cell": lambda _: ("cell", self.execution)})
        monkeypatch.setattr(kernel, "KernelCells", cells)
        monkeypatch.setattr(first_line, "display", lambda line, raw: self.shown.append(line))
        monkeypatch.setattr(first_line, "clear_output", lambda wait: self.shown.append(wait))


@pytest.mark.parametrize(
    "source",
    [
        "%%fusion --rounds 3\nmodel = 1",
        "%%fusion\nmodel = 1",
        "\n# my run\n\n  %%fusion --rounds 3\nmodel = 1",
        "%fusion run --rounds 3",
        "%fusion --model net",
        "# my run\n%fusion run --rounds 3\nprint(run)",
        "%fusion sweep --lr [0.1, 0.2]",
        "%fusion resume run",
    ],
)
def test_a_cell_that_trains_shows_it_and_clears_it_with_its_next_output(
    monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    cell = Cell(monkeypatch, source)
    FirstLine().show()
    bundle, wait = cell.shown
    assert bundle["text/plain"] == "preparing the run"
    assert 'role="status"' in bundle["text/html"]
    assert wait is True


@pytest.mark.parametrize(
    "source",
    [
        "%fusion list",
        "%fusion status run",
        "%fusion runs",
        "%fusion",
        "print('mine')\n%fusion run --rounds 3",
        "for seed in range(3):\n    %fusion run --seed {seed}",
        "%%fusion --rounds 3 --quiet\nmodel = 1",
        "",
    ],
)
def test_other_cells_keep_what_they_show(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    cell = Cell(monkeypatch, source)
    FirstLine().show()
    assert cell.shown == []


def test_a_second_run_in_a_cell_does_not_clear_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, line = Cell(monkeypatch, "%fusion run --seed 1\n%fusion run --seed 2"), FirstLine()
    line.show()
    line.show()
    assert len(cell.shown) == 2
    cell.execution = "second"
    line.show()
    assert len(cell.shown) == 4


def test_where_nobody_looks_on_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell(monkeypatch, "%%fusion --rounds 3\nmodel = 1", looks_on=False)
    FirstLine().show()
    assert cell.shown == []


def test_a_kernel_sends_it_before_anything_else_of_the_cell(kernel: Any) -> None:
    _, client = kernel
    execute(client, WATCH)
    cell = f"%%fusion --rounds 1 --name run\nprint('in the body')\n{CELL}"
    seen = execute(client, cell, stdin=True)
    kinds = [m["msg_type"] for m in seen if m["msg_type"] not in ("status", "execute_input")]
    assert kinds[:3] == ["display_data", "clear_output", "stream"]
    first = [m["content"] for m in seen if m["msg_type"] in ("display_data", "clear_output")]
    assert first[0]["data"]["text/plain"] == "preparing the run"
    assert first[1]["wait"] is True
    assert "application/vnd.jupyter.widget-view+json" in first[2]["data"]
    assert text(execute(client, "print(loaded[0], loaded[-1])")).split() == ["False", "True"]


def test_an_error_takes_its_place(kernel: Any) -> None:
    _, client = kernel
    execute(client, "%load_ext fusion_nb")
    seen = execute(client, "%%fusion --rouns 3\nmodel = 1", stdin=True)
    kinds = [m["msg_type"] for m in seen if m["msg_type"] not in ("status", "execute_input")]
    assert kinds == ["display_data", "clear_output", "error"]
