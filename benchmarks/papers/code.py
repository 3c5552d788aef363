"""A digest of the code that the figures of a case come from."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Rooms of the package that can change a figure. Charts, the service and the notebook can't.
ROOMS = ("core", "data", "models", "engines", "algorithms", "runs")
#: Parts of them that only tell or repeat what a run came to.
_WITHOUT = ("runs/experiments", "runs/trackers", "runs/ibm_config", "runs/party")
_HERE = "benchmarks/papers"
#: Packages that compute figures, and those that some scripts need besides.
_PACKAGES = {
    "": ("numpy", "torch"),
    "private": ("opacus", "dp-accounting"),
    "estimators": ("scikit-learn", "xgboost", "xgboost-cpu", "lightgbm"),
}


def digest(case: str) -> str:
    """Return a digest of the code and of the packages that a case depends on.

    Comments, docstrings and layout do not count: the syntax trees are compared.
    """
    script = case.partition(".")[0]
    text = "".join(package_trees() + tuple(map(tree_of, scripts_of(script))))
    text += "".join(f"{name} {number}" for name, number in versions(case).items())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions(case: str) -> dict[str, str]:
    """Return the versions of the packages that compute the figures of a case."""
    found = {}
    for name in (*_PACKAGES[""], *_PACKAGES.get(case.partition(".")[0], ())):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # one of two distributions of the same package
            continue
    return found


def scripts_of(script: str) -> list[Path]:
    """Return a script, and those of this folder that it imports."""
    found: list[Path] = []
    waiting = [script]
    while waiting:
        path = ROOT / _HERE / f"{waiting.pop()}.py"
        if path in found:
            continue
        found.append(path)
        waiting += [
            node.module.rpartition(".")[2]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("benchmarks.papers.")
        ]
    return sorted(found)


@functools.cache
def package_trees() -> tuple[str, ...]:
    """Return the syntax trees of the package's files that can change a figure."""
    return tuple(map(tree_of, sorted(_files())))


def _files() -> Iterator[Path]:
    for room in ROOMS:
        for path in (ROOT / "fusion_nb" / room).rglob("*.py"):
            place = path.relative_to(ROOT / "fusion_nb").as_posix()
            if not place.startswith(_WITHOUT):
                yield path


@functools.cache
def tree_of(path: Path) -> str:
    """Return the syntax tree of a file without its docstrings, as text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return f"{path.relative_to(ROOT).as_posix()} {ast.dump(tree)}"
