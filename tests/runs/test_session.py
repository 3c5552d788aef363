"""The runs of a process: from Python, by name, and several in one chart."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from torch import nn

from fusion_nb import federate
from fusion_nb.errors import FusionError, OptionError, RunError
from fusion_nb.runs.session import RUNS, compare, new_name, remember


@pytest.fixture(autouse=True)
def no_runs() -> Iterator[None]:
    """No run of another test."""
    RUNS.clear()
    yield
    RUNS.clear()


def test_federate_takes_objects_and_names(rows: Any, net: Any) -> None:
    assert federate(net(), rows, rounds=1).status == "finished"
    background = federate(
        nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
        "digits",
        background=True,
        rounds=2,
        name="b",
    )
    assert len(background.history) == 2
    assert list(RUNS) == ["run", "b"]
    with pytest.raises(FusionError, match="there is no option 'round'"):
        federate(net(), rows, round=1)


def test_federate_writes_options_as_python_has_them(rows: Any, net: Any) -> None:
    with pytest.raises(OptionError, match=r"^fraction=2 is not allowed") as caught:
        federate(net(), rows, fraction=2)
    assert (caught.value.option, caught.value.value) == ("fraction", "2")
    with pytest.raises(OptionError, match=r"^until= names the metric 'f1'"):
        federate(net(), rows, until="f1 > 0")


def test_federate_takes_the_words_that_others_use(rows: Any, net: Any) -> None:
    run = federate(net(), rows, rounds=1, clients=3, algorithm="fedprox")
    assert (run.spec.fusion, len(run.parties)) == ("fedprox", 3)


def test_a_run_under_way_is_not_forgotten(run_of: Any, rows: Any, net: Any) -> None:
    allowed = threading.Event()
    run = run_of(net())
    run.subscribe(lambda run: allowed.wait(240))
    remember(run)
    run.start()
    with pytest.raises(OptionError, match="still running"):
        federate(net(), rows, rounds=1, name=run.name)
    with pytest.raises(OptionError, match="still running"):
        new_name("run", {"run": run})
    assert new_name("", {}) == "run_2"
    allowed.set()
    run.wait()
    assert federate(net(), rows, rounds=1, name=run.name, loss=None).status == "finished"


@pytest.mark.parametrize("name", ["2nd", "class", "print", "a b"])
def test_a_name_that_is_no_free_variable_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match="can't name a variable") as caught:
        new_name(name, {})
    assert ("of Python's own" in caught.value.hint) == (name in ("class", "print"))


def test_a_variable_that_holds_something_else_is_kept() -> None:
    with pytest.raises(OptionError, match="holds list, not a run"):
        new_name("x", {"x": [1]})
    assert new_name("", {"run": 1, "run_2": 2}) == "run_3"


def test_runs_of_the_same_metrics_are_drawn_together(run_of: Any, net: Any) -> None:
    runs = {"first": run_of(net(), rounds=1).start().wait(), "second": run_of(net(), rounds=2)}
    chart = compare(runs)
    assert [line.get_label() for line in chart.figure.axes[0].lines] == ["first"]
    regression = run_of(net(5, 1), loss="MSELoss")
    with pytest.raises(RunError, match="compare runs of the same metrics"):
        compare({**runs, "third": regression})
