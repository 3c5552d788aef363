"""Promises of every registered sampling and of every schedule of the learning rate."""

from __future__ import annotations

import math
from typing import Any

import pytest

import fusion_nb
from fusion_nb.algorithms.lr_schedules import make as make_schedule
from fusion_nb.algorithms.samplings import make as make_sampling
from fusion_nb.core import registry
from fusion_nb.core.protocols import SamplingContext
from fusion_nb.core.rounds.schedule import Schedule

#: The options that a sampling needs in a run of four parties, where that is not its name alone.
GIVEN = {
    "loss": {"sampling": "loss", "fraction": 0.5},
    "named": {"sampling": "named:party 1|party 4"},
    "oort": {"sampling": "oort", "fraction": 0.5, "devices": "lognormal", "step_seconds": 0.1},
    "poisson": {"sampling": "poisson:q=0.6"},
    "tiers": {"sampling": "tiers:2", "fraction": 0.5, "devices": "lognormal", "step_seconds": 0.1},
    "uniform": {"sampling": "uniform", "fraction": 0.5},
}
PARTIES = [f"party {i + 1}" for i in range(4)]
SAMPLINGS = [name for name in registry.names("samplings") if name in GIVEN]
SCHEDULES = registry.names("lr_schedules")


def test_every_built_in_sampling_is_here() -> None:
    assert {*registry.BUILTIN["samplings"]} == {*GIVEN}


@pytest.mark.parametrize("name", SAMPLINGS)
class TestEverySampling:
    def test_it_is_a_function_of_its_context(self, name: str) -> None:
        chosen = make_sampling(str(GIVEN[name]["sampling"]), {}, PARTIES)
        for round in range(1, 5):
            context = SamplingContext(PARTIES, round, 7, fraction=0.5)
            assert [*chosen(context)] == [*chosen(context)]
            assert {*chosen(context)} <= {*PARTIES}

    def test_stopped_and_continued_it_has_the_same_cohorts(
        self, name: str, rows: Any, net: Any
    ) -> None:
        options: dict[str, Any] = {"parties": 4, "lr": 0.1, **GIVEN[name]}
        whole = fusion_nb.federate(net(), rows, rounds=4, **options)
        parts = fusion_nb.federate(net(), rows, rounds=2, **options).more(2).wait()
        assert [r.cohort for r in parts.history] == [r.cohort for r in whole.history]
        assert parts.history["loss"] == whole.history["loss"]

    def test_the_number_of_workers_does_not_matter(self, name: str, rows: Any, net: Any) -> None:
        options: dict[str, Any] = {"parties": 4, "rounds": 3, "lr": 0.1, **GIVEN[name]}
        one, two = (
            fusion_nb.federate(net(), rows, engine=f"local:workers={count}", **options)
            for count in (1, 2)
        )
        assert one.history["loss"] == two.history["loss"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_gives_rates_and_names_itself(name: str) -> None:
    schedule, planned = make_schedule(name), Schedule([(0, 12)])
    rates = [schedule.lr(0.1, round, planned) for round in range(1, 13)]
    assert all(math.isfinite(rate) and 0 < rate <= 0.1 for rate in rates)
    assert rates == [schedule.lr(0.1, round, planned) for round in range(1, 13)]
    assert schedule.name == name
