"""Parts that tests of experiments share: a function that builds a small model, and short sweeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fusion_nb import Experiment, sweep
from fusion_nb.runs.experiments import calls
from fusion_nb.runs.session import RUNS


@pytest.fixture(autouse=True)
def _no_experiments() -> Iterator[None]:
    RUNS.clear()
    calls.EXPERIMENTS.clear()
    yield
    for made in calls.EXPERIMENTS.values():
        made.stop()
    calls.EXPERIMENTS.clear()
    RUNS.clear()


@pytest.fixture
def build() -> Callable[[], Any]:
    """A function that builds a small network, whose first weights are drawn."""
    from torch import nn

    return lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


@pytest.fixture
def short_sweep(build: Callable[[], Any], rows: Any) -> Callable[..., Experiment]:
    """A maker of sweeps of two rounds over three parties."""

    def make(**options: Any) -> Experiment:
        defaults: dict[str, Any] = {"rounds": 2, "parties": 3, "lr": 0.1}
        return sweep(build, rows, **defaults | options)

    return make
