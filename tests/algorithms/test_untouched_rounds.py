"""A robust rule that changed nothing in a run says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.core import registry
from fusion_nb.core.types import FederationInfo, Update


def warnings(rows: Any, net: Any, fusion: str, **options: Any) -> list[str]:
    spec = RunSpec(data="data", parties=5, rounds=2, lr=0.1, fusion=fusion, **options)
    run = Run(spec, {"model": net(), "data": rows}).start().wait()
    return [note for note in run.notes if "left every update" in note]


@pytest.mark.parametrize(
    ("fusion", "hint"),
    [
        ("centered_clip:tau=100", "its tau is longer than all changes of weights"),
        ("trimmed_mean:beta=0", "a larger beta"),
        ("multikrum:f=1,m=5", "a smaller m"),
        ("bucketing:s=1+centered_clip:tau=100", "its tau is longer"),
    ],
)
def test_it_is_said_with_what_to_do(rows: Any, net: Any, fusion: str, hint: str) -> None:
    (found,) = warnings(rows, net, fusion)
    assert found.startswith("warning: ")
    assert "in 2 rounds" in found
    assert hint in found


@pytest.mark.parametrize(
    "fusion",
    ["centered_clip", "centered_clip:tau=0.001", "trimmed_mean", "multikrum:f=1", "median", "krum"],
)
def test_a_rule_that_changed_something_says_nothing(rows: Any, net: Any, fusion: str) -> None:
    assert not warnings(rows, net, fusion)


def test_it_is_said_inside_a_wrapper_with_a_state_of_its_own(rows: Any, net: Any) -> None:
    found = warnings(rows, net, "centered_clip:tau=100", personal="fedper:layers=2.*")
    assert len(found) == 1


def test_a_state_of_an_earlier_version_has_no_counts() -> None:
    rule = registry.create("fusions", "centered_clip:tau=5")
    weights = {"w": np.zeros(3)}
    state = {"trained": ["w"], "centre": {}}
    assert not rule.notes(state)
    updates = [Update(f"p{i}", {"w": np.full(3, float(i))}, 10) for i in range(3)]
    _, after = rule.aggregate(weights, iter(updates), state)
    assert rule.notes(after)
    assert rule.init(weights, FederationInfo(3, ("w",), frozenset("w"), frozenset())) == state


def test_the_help_of_tau_says_that_it_is_of_weights() -> None:
    text = str(registry.options("fusions", "centered_clip"))
    assert "change of weights" in text
