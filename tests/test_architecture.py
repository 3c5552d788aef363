"""The architecture as tests: who may import whom, and what loading the extension loads."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath

import pytest
from architecture import (
    LAYER,
    LAYERS,
    MODULES,
    PACKAGE,
    REPOSITORY,
    adapter_of,
    drawing,
    written,
)

from fusion_nb.core.builtin import BUILTIN

#: Packages that every installation has, and that may be imported at the top of a file in one place
#: alone, since they take long to load. "" is nowhere.
HEAVY = {
    "matplotlib": "",
    "pandas": "",
    "pooch": "",
    "scipy": "",
    "ipywidgets": "notebook/panel/",
    "anywidget": "notebook/chart/",
    "typer": "cli",
}
#: Packages of extras outside the adapters of models and engines: the service has them for itself.
_OF_THE_SERVICE = {"fastapi": "service/api/", "starlette": "service/api/"}
#: Modules at the package's root, and modules in one folder: those that hold what is registered
#: under a name (one file for each algorithm) are a catalogue, and not counted.
_MOST_AT_THE_ROOT, _MOST_IN_A_FOLDER = 6, 25

#: `fusion_nb.core.types` -> `core/types.py`
BY_NAME = {
    ".".join(("fusion_nb", *PurePosixPath(path).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in MODULES
}


@functools.cache
def parsed(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """The names that import statements name: modules, or attributes of modules."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that a search finds them"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def everywhere(module: str) -> set[str]:
    """All that a file imports: at its top, inside functions and under TYPE_CHECKING."""
    return {*imported(ast.walk(parsed(module)))}


def at_the_top(module: str) -> set[str]:
    """The modules that a file imports when it is loaded."""
    return {*imported(iter(parsed(module).body))}


def room_of(module: str) -> str:
    """`core` for `core/types.py`, `datasets` for `datasets.py`."""
    return module.split("/")[0].removesuffix(".py")


def in_room(room: str) -> list[str]:
    """The files of a room."""
    return [module for module in MODULES if room_of(module) == room]


#: All rooms; the package's own `__init__` is none.
ROOMS = sorted({room_of(module) for module in MODULES} - {"__init__"})


def tops(room: str) -> Iterator[tuple[str, str]]:
    """The files of a room, each with what it imports when it is loaded."""
    return ((module, name) for module in in_room(room) for name in at_the_top(module))


def package_of(name: str) -> str:
    return name.split(".")[0]


def neighbours(module: str) -> set[str]:
    """The files of the package that a file imports from."""
    names = (name for name in everywhere(module) if package_of(name) == "fusion_nb")
    return {
        BY_NAME[name] if name in BY_NAME else BY_NAME[name.rpartition(".")[0]] for name in names
    }


class TestLayers:
    @pytest.mark.parametrize("room", ROOMS)
    def test_imports_point_down(self, room: str) -> None:
        pairs = ((name, other) for name in in_room(room) for other in neighbours(name))
        for module, other in pairs:
            assert room_of(other) == room or LAYER[room_of(other)] < LAYER[room], (
                f"{module} (layer {LAYER[room]}) imports {other}, which is not below it"
            )

    def test_no_modules_import_each_other_in_a_circle(self) -> None:
        circle: list[str] = []
        try:
            TopologicalSorter({module: neighbours(module) for module in MODULES}).prepare()
        except CycleError as error:
            circle = error.args[1]
        assert not circle, "a circle of imports: " + " <- ".join(circle)

    def test_every_room_has_a_layer(self) -> None:
        found = {
            path.name + "/" * path.is_dir()
            for path in PACKAGE.iterdir()
            if path.name[0] not in "._" and (path.is_dir() or path.suffix == ".py")
        }
        assert found - {"assets/"} == {room for rooms in LAYERS for room in rooms}

    def test_the_drawing_is_that_of_the_table(self) -> None:
        assert written() == drawing(), (
            "CONTRIBUTING.md draws other layers than tests/architecture.py has: "
            "run  python tests/architecture.py --write"
        )


class TestRooms:
    def test_the_root_is_not_an_attic(self) -> None:
        at_the_root = [name for name in MODULES if "/" not in name]
        assert len(at_the_root) <= _MOST_AT_THE_ROOT, f"too many modules: {at_the_root}"

    def test_no_folder_is_an_attic(self) -> None:
        registered = {
            BY_NAME[place.partition(":")[0]] for kind in BUILTIN.values() for place in kind.values()
        }
        counted = Counter(
            str(PurePosixPath(name).parent)
            for name in MODULES
            if not name.endswith("__init__.py") and name not in registered
        )
        crowded = {folder: count for folder, count in counted.items() if count > _MOST_IN_A_FOLDER}
        assert not crowded, f"over {_MOST_IN_A_FOLDER} modules in one folder: {crowded}"


class TestHeavyPackages:
    """A framework is imported when one of its models is used, and by its adapter alone."""

    @pytest.mark.parametrize("room", ROOMS)
    def test_only_an_adapter_needs_its_framework(self, room: str) -> None:
        for module, name in tops(room):
            package = package_of(name)
            if package in REQUIRED | {"fusion_nb"} | sys.stdlib_module_names:
                continue
            place = _OF_THE_SERVICE.get(package, "service/")
            assert is_adapter(module) or module.startswith(place), (
                f"{module} imports {name} at the top: import it inside a function, or in an adapter"
            )

    def test_no_two_adapters_share_a_framework(self) -> None:
        users: dict[str, set[str]] = {}
        for module in filter(is_adapter, MODULES):
            for name in at_the_top(module):
                if package_of(name) not in REQUIRED | {"fusion_nb"} | sys.stdlib_module_names:
                    users.setdefault(package_of(name), set()).add(adapter_of(module))
        assert users["torch"] == {"models/torch"}
        assert all(len(adapters) == 1 for adapters in users.values()), users

    @pytest.mark.parametrize("package", ["flwr", "ray"])
    def test_a_cluster_is_the_business_of_its_engine_alone(self, package: str) -> None:
        """Inside functions too: no other room depends on where parties are."""
        users = {
            module
            for module in MODULES
            if any(package_of(name) == package for name in everywhere(module))
        }
        assert all(module.startswith("engines/") for module in users), users

    @pytest.mark.parametrize("room", ROOMS)
    def test_slow_packages_are_imported_where_they_are_used(self, room: str) -> None:
        for module, name in tops(room):
            place = HEAVY.get(package_of(name))
            assert place is None or (place and module.startswith(place)), (
                f"{module} imports {name} at the top: import it inside a function"
            )

    @pytest.mark.parametrize("room", [room for room in ROOMS if LAYER[room] <= LAYER["core"]])
    def test_the_lowest_layers_need_numpy_alone(self, room: str) -> None:
        for module in in_room(room):
            packages = {package_of(name) for name in at_the_top(module)}
            assert packages <= {"numpy", "fusion_nb"} | sys.stdlib_module_names, module

    def test_loading_the_extension_loads_nothing_heavy(self) -> None:
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
        frameworks = {
            package_of(name)
            for module in filter(is_adapter, MODULES)
            for name in at_the_top(module)
        } - sys.stdlib_module_names
        assert frameworks >= {"torch", "keras", "gensim"}
        light = {"fusion_nb", "IPython"}
        assert not loaded & ((frameworks | {*HEAVY, *REQUIRED, *_OF_THE_SERVICE}) - light)

    def test_a_run_of_arrays_loads_no_part_that_it_does_without(self) -> None:
        script = (
            "import sys, fusion_nb, numpy as np\n"
            "from torch import nn\n"
            "rows = np.ones((40, 3), np.float32), np.arange(40) % 2\n"
            "fusion_nb.federate(nn.Linear(3, 2), rows, parties=2, rounds=1, lr=0.1)\n"
            "print(*sorted(sys.modules))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        loaded = set(done.stdout.split())
        assert {"torch", "fusion_nb.runs.session"} <= loaded
        assert not loaded & {"yaml", "jinja2", "matplotlib", "pandas"}
        others = (
            "fusion_nb.runs.experiments.exp",
            "fusion_nb.engines.flower",
            "fusion_nb.runs.ibm",
        )
        assert not [name for name in loaded if name.startswith(others)]


def is_adapter(module: str) -> bool:
    return bool(adapter_of(module))


def required() -> frozenset[str]:
    """The packages that every installation has, by the names that they are imported under."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.match(r"[\w.-]+", text)[0].lower() for text in project["dependencies"]}
    other = {"pyyaml": "yaml", "ipython": "IPython"}
    return frozenset(other.get(name, name.replace("-", "_")) for name in names)


REQUIRED = required()


def test_every_public_name_exists() -> None:
    import fusion_nb

    assert all(getattr(fusion_nb, name) is not None for name in fusion_nb.__all__)
    assert set(fusion_nb.__all__) <= set(dir(fusion_nb))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fusion_nb.nothing
