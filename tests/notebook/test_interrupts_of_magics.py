"""An interrupt while IPython or Python prepares a cell: one line, and no module half imported."""

from __future__ import annotations

import ast
import signal
import sys
from importlib.abc import MetaPathFinder
from typing import Any

import pytest
from cells import fuse

import fusion_nb.notebook
from fusion_nb.errors import Interrupted

COMMANDS = "fusion_nb.notebook.commands"


class _InterruptedImport(MetaPathFinder):
    """Interrupts the import of a module when it begins."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        if name == self.name:
            signal.raise_signal(signal.SIGINT)


class _InterruptedCompilation(ast.NodeTransformer):
    """Interrupts the compilation of code that has a certain name in it."""

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id == "here":
            signal.raise_signal(signal.SIGINT)
        return node


@pytest.mark.parametrize("module", [COMMANDS, "fusion_nb.notebook.explain", "fusion_nb.runs.spec"])
@pytest.mark.parametrize("is_cell", [True, False])
def test_the_imports_of_the_first_use_are_completed(
    ip: Any, monkeypatch: pytest.MonkeyPatch, module: str, is_cell: bool
) -> None:
    for name in {COMMANDS, module}:
        # A package keeps its modules as attributes, too.
        room, _, own = name.rpartition(".")
        monkeypatch.delattr(sys.modules[room], own, raising=False)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [_InterruptedImport(module), *sys.meta_path])
    seen = fuse(ip) if is_cell else ip.run("%fusion list")
    assert isinstance(seen.error, Interrupted)
    expected = "cell was interrupted before it launched a run" if is_cell else "command was"
    assert expected in str(seen.error)
    assert "KeyboardInterrupt" not in seen.text
    assert callable(fusion_nb.notebook.commands.execute), "the module is whole"
    assert "model" not in ip.ns
    assert ip.run("%fusion list").error is None


@pytest.mark.parametrize(
    "body", ["here = 1", "def unused():\n    return here", "print('before')\nfor here in []: pass"]
)
def test_a_body_that_ipython_compiles_is_one_line(ip: Any, body: str) -> None:
    shell = ip.shell
    shell.ast_transformers.append(_InterruptedCompilation())
    before = shell.showtraceback
    try:
        seen = fuse(ip, body=body)
    finally:
        shell.ast_transformers.pop()
    assert isinstance(seen.error, Interrupted)
    assert "the cell's body was interrupted" in str(seen.error)
    assert "KeyboardInterrupt" not in seen.text
    assert "before" not in seen.text
    assert shell.showtraceback == before


def test_other_errors_of_a_body_keep_their_tracebacks(ip: Any) -> None:
    seen = fuse(ip, body="1 / 0")
    assert "ZeroDivisionError" in seen.text
    assert "1 / 0" in seen.text
