"""The markers by which `make quick` leaves tests out. No test needs to be marked by hand.

`integration`: the test starts a process, a kernel, a server or a browser, or reads the real data.
Its function, its fixtures and the helpers that they call are searched for the names by which
processes are started.
`framework`: its name, or its parameters, are about a framework other than PyTorch, or a package
that goes with one (Flower, transformers, a tracker's), which takes long to load.
`sweep`: its file holds one property of a run for every registered component, compares many
trainings, or drives a panel through many states; all of its tests together take long, and files
beside it test the same room.

Tests that drive a browser come last, in three groups that take about the same time: a group is for
one process of pytest-xdist, which would otherwise take two long files while others have none.

A file of which `-m` leaves out every test is not imported, nor is one searched for doctests that
has none: each process of pytest-xdist would spend seconds on that.
"""

from __future__ import annotations

import ast
import functools
import inspect
import os
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

#: Names in code that start another process.
STARTERS = frozenset({"subprocess", "Popen", "start_new_kernel", "ProcessEngine", "get_context"})
#: Fixtures of plugins that start one, and the one of the real data, which takes as long.
FIXTURES = frozenset({"page", "browser", "context", "mnist"})
#: Words in the path, the name and the parameters of a test about another framework.
FRAMEWORKS = re.compile(
    "keras|doc2vec|document_tags|gensim|tensorflow|sklearn_|xgboost|lightgbm|estimators"
    "|flower_app|flower_link|party_app|language_models|pretrained|torch_per_row|onnx|mlflow"
    "|tensorboard|experiments/test_search|engines/test_ray|on_ray|test_more_machines",
    re.IGNORECASE,
)
#: Words in the path of tests that take long together. `make test` runs all of them.
SWEEPS = re.compile(
    "resumed_curves|continue_from_state|unchanged_snapshots|whole_rounds|hostile_names|every_"
    "|attacks_on_fusions|personal_rounds|test_panel|saved_in_notebooks|activations"
    "|stacked_layers|masked_parties|experiment_report|experiment_command|chart_of_experiments"
    "|audit/test_audit.py|audited_kinds|noise_of_runs|told_rounds|test_papers|torch_randomness"
    "|test_distributions|contribution_charts|charts_against_epsilon|device_rows"
    "|test_baselines|experiments/test_experiment.py"
    "|trackers/test_tracking|trackers/test_stored_runs|test_readme|torch_sending|secure_runs"
    "|runs/test_added_metrics|runs/clock/test_simulated_time|compressed_runs|experiment_folder"
    "|test_asynchronous|private_rows|spent_by_parties|fusion_equivalences|experiments_in_cells"
    "|contribution/test_contributions|run_predictions|tabular_runs|test_full_disk"
    "|test_virtual_clock|algorithms/test_hostile_parties|local_objectives|checkpoint_damage"
    "|damaged_safetensors|npz_sizes|tree_parameters|yaml_text|torch_shapes|checkpoint_faults"
    "|comparing_in_cells|callbacks/test_callbacks|engines/test_faults|timed_samplings"
    "|private_runs_followed|simulated_time_charts|notebook/test_completion"
)
#: Words in the path of tests that start one in a way that their code does not show.
PROCESSES = re.compile("test_browser|experiment_processes|service/test_inspection")
#: Words in the path of tests that drive a browser -> their group; the first group is begun first,
#: and each has at least three tests: with two left, a process is given the next group too.
BROWSER_GROUPS = {
    "test_browser_(panel|vscode)": "browser 1",
    "test_browser(_report)?.py": "browser 2",
    "test_browser": "browser 3",
}
#: Seconds that a slow test may take before it is ended as hung. Others have those of pyproject.
SLOW_TIMEOUT = 3600

#: Folders of the code that is searched.
_OURS = tuple(
    f"{folder}{os.sep}"
    for folder in (Path(__file__).parent, Path(__file__).parents[1] / "benchmarks")
)
#: The process engine in the `repr` of a value.
_PROCESS_ENGINE = re.compile(r"--engine process|['\"]process[:'\"]")
#: A `-m` that leaves out, and demands nothing.
_LEAVES_OUT = re.compile(r"not \w+( and not \w+)*")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore a file of which `-m` leaves out every test."""
    chosen = config.option.markexpr
    if collection_path.suffix != ".py" or not _LEAVES_OUT.fullmatch(chosen):
        return None
    left_out = set(re.findall(r"not (\w+)", chosen))
    return True if left_out & markers_of(collection_path, config.rootpath) else None


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path,
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Take doctests only from files that have some."""
    collected = yield
    if not collected or ">>>" in file_path.read_text(encoding="utf-8"):
        return collected
    return [each for each in collected if type(each).__name__ != "DoctestModule"]


def markers_of(path: Path, root: Path) -> set[str]:
    """Return the markers that all tests of a file have: by its path, and by its `pytestmark`."""
    place = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    found = {
        name
        for name, words in (
            ("framework", FRAMEWORKS),
            ("sweep", SWEEPS),
            ("integration", PROCESSES),
        )
        if words.search(place)
    }
    text = path.read_text(encoding="utf-8")
    if "\npytestmark = " in text:
        statements = (each for each in ast.parse(text).body if isinstance(each, ast.Assign))
        for statement in statements:
            if ast.unparse(statement.targets[0]) == "pytestmark":
                parts = ast.walk(statement.value)
                found |= {part.attr for part in parts if isinstance(part, ast.Attribute)}
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests, give slow ones the time that they need, and let long files begin first.

    Two processes share the files: one that begins with a long file while the other has no more
    would be waited for.
    """
    for item in items:
        parameters = _parameters(item)
        if FRAMEWORKS.search(f"{item.nodeid} {parameters}"):
            item.add_marker(pytest.mark.framework)
        if SWEEPS.search(item.location[0]):
            item.add_marker(pytest.mark.sweep)
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT))
        if PROCESSES.search(item.location[0]) or (
            isinstance(item, pytest.Function) and needs_processes(item, parameters)
        ):
            item.add_marker(pytest.mark.integration)
    long_files = {item.location[0] for item in items if item.get_closest_marker("integration")}
    in_browser = {item.location[0] for item in items if item.get_closest_marker("browser")}
    # Playwright leaves an event loop that runs in its process: its tests come last.
    items.sort(
        key=lambda item: (
            browser_group(item.location[0]) if item.location[0] in in_browser else "",
            item.location[0] not in long_files,
        )
    )


def browser_group(path: str) -> str:
    """Return the group of a file of tests that drive a browser, or "" for another file."""
    return next((name for words, name in BROWSER_GROUPS.items() if re.search(words, path)), "")


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which is not always there
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share files among processes as `--dist loadfile` does, and groups of files as one file."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByGroup(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return browser_group(file) or file

    return ByGroup(config, log)


def needs_processes(item: pytest.Function, parameters: str) -> bool:
    """Return whether a test, or a fixture of it, starts another process."""
    if _PROCESS_ENGINE.search(parameters):
        return True
    fixtures = item._fixtureinfo.name2fixturedefs  # pytest has no public way to a fixture's code
    used = (definition.func for found in fixtures.values() for definition in found)
    return bool(FIXTURES.intersection(fixtures)) or any(
        starts_processes(function) for function in (item.function, *used)
    )


def _parameters(item: pytest.Item) -> str:
    """Return the `repr` of the values that a parametrized test is given."""
    return repr(list(item.callspec.params.values())) if hasattr(item, "callspec") else ""


@functools.cache
def starts_processes(function: Callable[..., Any]) -> bool:
    """Return whether a function of the tests starts a process, itself or through another one."""
    return any(
        STARTERS.intersection(code.co_names) or any(map(_names_the_engine, code.co_consts))
        for code in _reached(inspect.unwrap(function))
    )


def _names_the_engine(constant: object) -> bool:
    return isinstance(constant, str) and bool(_PROCESS_ENGINE.search(repr(constant)))


@functools.cache
def _reached(function: Callable[..., Any]) -> tuple[CodeType, ...]:
    """Return the code of a function, and of those of tests and benchmarks that it can call."""
    codes: list[CodeType] = []
    waiting, seen = [function], {function}
    while waiting:
        here = waiting.pop()
        namespace = getattr(here, "__globals__", {})
        for code in _nested(getattr(here, "__code__", None)):
            codes.append(code)
            found = [namespace.get(name) for name in code.co_names]
            modules = [each for each in found if inspect.ismodule(each)]
            found += [vars(module).get(name) for module in modules for name in code.co_names]
            for called in {called for each in found for called in _functions(each)} - seen:
                seen.add(called)
                waiting.append(called)
    return tuple(codes)


def _functions(found: object) -> Iterator[Callable[..., Any]]:
    """Yield a function of tests or benchmarks, or the methods of a class of theirs."""
    if inspect.isclass(found):
        members = [member for kind in found.__mro__ for member in vars(kind).values()]
    else:
        members = [found]
    for member in members:
        function = inspect.unwrap(member) if callable(member) else None
        if inspect.isfunction(function) and _is_ours(function):
            yield function


def _is_ours(function: FunctionType) -> bool:
    return function.__code__.co_filename.startswith(_OURS)


def _nested(code: CodeType | None) -> Iterator[CodeType]:
    """Yield code, and that of the functions inside it."""
    if code is not None:
        yield code
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                yield from _nested(constant)
