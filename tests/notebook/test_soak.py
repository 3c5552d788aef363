"""A kernel that has trained many runs or rounds holds no more than one that has trained few."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from panels import until

from benchmarks.soak import Kernel, Sample, over_rounds, over_runs

#: Counts that must be equal before and after.
FLAT = ("widgets", "processes", "temporary")
#: A thread that has told its end may take a moment to be gone.
MORE_THREADS = 2
#: Open files come and go: ipykernel keeps some for each thread that has displayed something, and
#: closes them every few seconds.
MORE_FILES = 40
#: MB that a kernel may grow by, in all; 500 runs that were kept would take more.
MORE_MEMORY = 60


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel.start()
    yield kernel
    kernel.close()


def check_flat(samples: list[Sample]) -> None:
    """Check that the last sample holds no more than the first."""
    (_, first), (_, last) = samples[0], samples[-1]
    assert {name: last[name] for name in FLAT} == {name: first[name] for name in FLAT}
    assert last["threads"] <= first["threads"] + MORE_THREADS
    assert last["files"] <= first["files"] + MORE_FILES
    assert last["memory"] <= first["memory"] + MORE_MEMORY


@pytest.mark.parametrize(
    ("engine", "runs"),
    [
        ("local", 15),
        pytest.param("local", 500, marks=pytest.mark.slow),
        pytest.param("process:workers=2", 100, marks=pytest.mark.slow),
        pytest.param("vectorized", 500, marks=pytest.mark.slow),
    ],
)
def test_runs_leave_nothing_behind(kernel: Kernel, engine: str, runs: int) -> None:
    over_runs(kernel, 2, 1, engine)
    before = kernel.held()
    over_runs(kernel, runs, runs, engine)
    # ipykernel closes the sockets of threads that have ended by and by, later than runs end.
    until(lambda: kernel.held()["files"] <= before["files"] + MORE_FILES)
    check_flat([(0, before), (runs, kernel.held())])


@pytest.mark.parametrize(
    ("engine", "rounds"),
    [
        pytest.param("local", 150, marks=pytest.mark.slow),
        pytest.param("local", 5000, marks=pytest.mark.slow),
        pytest.param("process:workers=2", 5000, marks=pytest.mark.slow),
        pytest.param("vectorized", 5000, marks=pytest.mark.slow),
    ],
)
def test_rounds_leave_nothing_behind(kernel: Kernel, engine: str, rounds: int) -> None:
    over_runs(kernel, 2, 1, engine)
    before = kernel.held()
    during = over_rounds(kernel, rounds, engine)
    kernel.run("run.wait()")
    check_flat([(0, before), (during[-1][0], kernel.held())])


@pytest.mark.slow
def test_runs_that_are_replaced_are_forgotten(kernel: Kernel) -> None:
    kernel.run("import weakref\nfrom fusion_nb.runs.session import RUNS\nruns = []")
    for _ in range(6):
        over_runs(kernel, 1, 1)
        kernel.run("runs.append(weakref.ref(RUNS['run']))")
    # IPython's _, __ and ___ hold the last three.
    alive = kernel.run("gc.collect()\nprint([run() is not None for run in runs])")
    assert alive.splitlines()[-1] == str([False] * 3 + [True] * 3)
