"""Seeds of parts of a run: each fixes what it says, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.errors import OptionError


def made(net: Callable[..., Any], rows: Any, **options: Any) -> Run:
    defaults: dict[str, Any] = {
        "rounds": 2,
        "parties": 6,
        "fraction": 0.5,
        "lr": 0.1,
        "batch_size": 8,
    }
    spec = RunSpec(data="data", **defaults | options)
    return Run(spec, {"model": net(), "data": rows}).start().wait()


def held_rows(run: Run) -> list[float]:
    return [float(np.sum(party.train[0])) for party in run.federation.parties]


def cohorts(run: Run) -> list[tuple[str, ...]]:
    return [record.cohort for record in run.history]


@pytest.fixture
def runs(net: Callable[..., Any], rows: Any) -> Callable[[str], tuple[Run, Run]]:
    """Two runs of the seeds 0 and 1, with one part of the second as in the first."""
    return lambda apart: (made(net, rows, seed=0), made(net, rows, seed=1, seed_of=apart))


def test_a_split_of_its_own_seed_gives_the_same_rows(runs: Any) -> None:
    first, second = runs("split=0")
    assert held_rows(first) == held_rows(second)
    assert cohorts(first) != cohorts(second)


def test_cohorts_of_their_own_seed_are_the_same(runs: Any) -> None:
    first, second = runs("cohort=0")
    assert cohorts(first) == cohorts(second)
    assert held_rows(first) != held_rows(second)


def test_batches_of_their_own_seed_change_the_curve_alone(net: Any, rows: Any) -> None:
    first, second = made(net, rows), made(net, rows, seed_of="batches=1")
    assert held_rows(first) == held_rows(second)
    assert cohorts(first) == cohorts(second)
    assert first.history["loss"] != second.history["loss"]


def test_all_parts_of_their_own_seed_are_that_seed(net: Any, rows: Any) -> None:
    whole = "split=0,cohort=0,batches=0,weights=0"
    first, second = made(net, rows, seed=0), made(net, rows, seed=9, seed_of=whole)
    assert first.history["loss"] == second.history["loss"]


@pytest.mark.parametrize(
    "text", ["weight=1", "split", "split=", "split=x", "split=-1", "split=1.5"]
)
def test_other_texts_are_refused(text: str, net: Any, rows: Any) -> None:
    with pytest.raises(OptionError, match="seed_of"):
        made(net, rows, seed_of=text)


def test_first_weights_of_a_cell_follow_their_own_seed(ip: Any) -> None:
    body = "from torch import nn\nmodel = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    for name, line in {
        "a": "--seed 0",
        "b": "--seed 1 --seed-of weights=0",
        "c": "--seed 1",
    }.items():
        ip.run(f"%%fusion --rounds 1 --parties 2 --name {name} {line}\n{body}")
    digests = [ip.ns[name].result().initial_sha256 for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
