"""An installation without any extra: everything loads, and a missing package is named in a line,
with the command that installs it.

A child interpreter in which the extras can't be imported stands for such an installation, so that
these tests run everywhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from architecture import MODULES, adapter_of

from fusion_nb.errors import EXTRAS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Extras of those who work on this package.
NOT_FOR_USERS = {"dev", "docs", "bench"}

#: A file of a model, and the extra that reads it.
EXTRA_OF_FILES = {
    "model.pt": "torch",
    "model.keras": "keras",
    "model.doc2vec": "doc2vec",
    "model.skops": "sklearn",
    "model.json": "xgboost",
    "model.txt": "lightgbm",
}

#: Hides the packages of extras, as if none of them were installed.
BLOCKER = """
import sys
from importlib.machinery import PathFinder
class WithoutExtras(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in ABSENT
        return None if hidden else super().find_spec(name, path, target)
sys.meta_path[:] = [WithoutExtras if each is PathFinder else each for each in sys.meta_path]
"""
SHELL = """
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "fusion_nb")
def run(cell):
    with capture_output() as seen:
        done = shell.run_cell(cell)
    return done.error_before_exec or done.error_in_exec, seen.stdout
"""


def absent() -> list[str]:
    """The modules that only extras bring, by the names that they are imported under."""
    return sorted({*EXTRAS, "starlette", "jupyter_server_proxy", "flwr", "ray", "pdoc"})


def child(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    blocker = BLOCKER.replace("ABSENT", repr(set(absent())))
    command = [sys.executable, "-c", blocker + script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def command_line(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`fusion-nb` with these arguments."""
    return child("from fusion_nb.cli import main\nmain()", *arguments, cwd=cwd)


def in_the_shell(script: str, cwd: Path) -> Any:
    """The JSON in the last line of a script, in which `run(cell)` runs a cell."""
    done = child("import json\n" + SHELL + script, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_every_extra_is_known_by_its_packages() -> None:
    extras = {*PROJECT["optional-dependencies"]} - NOT_FOR_USERS - {"all"}
    assert {*EXTRAS.values()} == extras


def test_no_absent_package_is_required() -> None:
    required = {requirement_name(text) for text in PROJECT["dependencies"]}
    brought_by = packages_distributions()
    for package in absent():
        assert not required & {name.lower() for name in brought_by.get(package, [])}


def requirement_name(text: str) -> str:
    return text.partition(";")[0].partition(">")[0].partition("[")[0].strip().lower()


def test_every_room_but_adapters_and_service_is_imported(tmp_path: Path) -> None:
    names = [
        f"fusion_nb/{module}".removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for module in MODULES
        if not module.startswith("service/") and not adapter_of(module)
    ]
    assert len(names) > 80
    script = f"""
import importlib
import fusion_nb
for name in fusion_nb.__all__:
    getattr(fusion_nb, name)
for name in {names!r}:
    importlib.import_module(name)
"""
    done = child(script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


class TestCells:
    def test_help_and_names_are_listed(self, tmp_path: Path) -> None:
        script = """
seen = [run(line) for line in ("%fusion help", "%fusion list", "%fusion help dirichlet")]
print(json.dumps([[repr(error) if error else "", text] for error, text in seen]))
"""
        seen = in_the_shell(script, tmp_path)
        assert [error for error, _ in seen] == [""] * 3
        assert "fedavg" in seen[1][1]

    def test_a_model_names_the_extra_that_it_needs(self, tmp_path: Path) -> None:
        for file in EXTRA_OF_FILES:
            (tmp_path / file).write_bytes(b"")
        script = f"""
seen = []
for file in {[*EXTRA_OF_FILES]!r}:
    error, _ = run(f"%fusion run --model {{file}} --data digits --rounds 1")
    seen.append([type(error).__name__, error.message, error.hint])
print(json.dumps(seen))
"""
        seen = in_the_shell(script, tmp_path)
        for (kind, message, hint), extra in zip(seen, EXTRA_OF_FILES.values(), strict=True):
            assert kind == "MissingExtraError"
            assert "not installed" in message
            assert "\n" not in message + hint
            assert f"pip install 'fusion_nb[{extra}]'" in hint


class TestCommandLine:
    @pytest.mark.parametrize("command", [[], ["serve"], ["run"], ["tutorials"], ["keys"]])
    def test_help_needs_no_extra(self, tmp_path: Path, command: list[str]) -> None:
        done = command_line(*command, "--help", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "Usage" in done.stdout

    def test_tutorials_are_copied(self, tmp_path: Path) -> None:
        done = command_line("tutorials", "here", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        names = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
        assert {path.name for path in (tmp_path / "here").glob("*.ipynb")} == names
        assert len(names) >= 10

    @pytest.mark.parametrize("command", [["serve", "--port", "0"], ["keys", "new"]])
    def test_the_service_names_its_extra(self, tmp_path: Path, command: list[str]) -> None:
        done = command_line(*command, cwd=tmp_path)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "pip install 'fusion_nb[service]'" in done.stderr


def test_the_entry_point_for_jupyter_is_loaded(tmp_path: Path) -> None:
    script = """
from fusion_nb.service.proxy import setup
assert not setup()["launcher_entry"]["enabled"]
"""
    done = child(script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
