"""The architecture, as two tests: who may import whom, and what loading the extension loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_nb.core.builtin import FRAMEWORKS

ROOT = Path(__file__).parents[1] / "fusion_nb"
#: The seven layers, lowest first. Rooms of one layer do not see each other.
LAYERS = (
    ("errors", "version"),
    ("core",),
    ("data", "models", "engines", "reporting"),
    ("algorithms",),
    ("runs",),
    ("service",),
    ("notebook", "cli", "datasets"),
)
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
#: Where a heavy package may be imported at the top of a file.
HEAVY = {
    **{framework.package: f"models/{name}" for name, framework in FRAMEWORKS.items()},
    "tensorflow": "models/keras",
    "ray": "engines/ray",
    "flwr": "engines/flower",
    "fastapi": "service/api/",
    "typer": "cli",
    "matplotlib": "nowhere",
    "pandas": "nowhere",
    "sklearn": "nowhere",
    "ipywidgets": "notebook/panel/",
}
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__.py"])
def test_imports_point_down(module: str) -> None:
    room = module.split("/")[0].removesuffix(".py")
    for name in imports(ast.parse((ROOT / module).read_text())):
        if not name.startswith("fusion_nb."):
            continue
        other = name.split(".")[1]
        if other == room:
            continue
        assert LAYER[other] < LAYER[room], f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("module", MODULES)
def test_heavy_packages_stay_in_their_rooms(module: str) -> None:
    top = ast.Module(
        [n for n in ast.parse((ROOT / module).read_text()).body if not isinstance(n, ast.If)], []
    )
    at_top = ast.Module([n for n in top.body if isinstance(n, ast.Import | ast.ImportFrom)], [])
    for name in imports(at_top):
        place = HEAVY.get(name.split(".")[0])
        assert place is None or module.startswith(place), f"{module} imports {name} at the top"


@pytest.mark.parametrize("module", [name for name in MODULES if name.startswith("core/")])
def test_low_layers_need_numpy_alone(module: str) -> None:
    body = ast.parse((ROOT / module).read_text()).body
    for name in imports(
        ast.Module([n for n in body if isinstance(n, ast.Import | ast.ImportFrom)], [])
    ):
        package = name.split(".")[0]
        assert package in {"numpy", "fusion_nb"} | sys.stdlib_module_names, (
            f"{module} imports {name}"
        )


def test_loading_the_extension_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "ip = InteractiveShell.instance()\n"
        "before = set(sys.modules)\n"
        "ip.run_line_magic('load_ext', 'fusion_nb')\n"
        "assert 'fusion' in ip.magics_manager.magics['cell']\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "fusion_nb" in loaded
    assert not loaded & {*HEAVY, "numpy", "pydantic", "yaml"}


def test_every_public_name_exists() -> None:
    import fusion_nb

    assert all(getattr(fusion_nb, name) is not None for name in fusion_nb.__all__)
    assert set(fusion_nb.__all__) <= set(dir(fusion_nb))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fusion_nb.nothing
