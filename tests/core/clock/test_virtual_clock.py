"""Simulated time: the arithmetic of trips, of late updates, and of the slowest of a cohort."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fusion_nb.algorithms.profiles.devices import HalfNormal, LogNormal, Pareto, Phones, Same
from fusion_nb.algorithms.profiles.networks import Mobile4G, Own
from fusion_nb.core.clock.profiles import Device, Devices, Line, Network, NoLimit
from fusion_nb.core.clock.steps import num_steps
from fusion_nb.core.clock.trips import Trip, trips_from_json, trips_to_json
from fusion_nb.core.clock.virtual_clock import VirtualClock, Work

PARTIES = [f"party {i}" for i in range(1, 1001)]


def clock(devices: Devices, network: Network | None = None, **options: float) -> VirtualClock:
    return VirtualClock(devices, network or NoLimit(), PARTIES, seed=0, **options)


class InTurn(Devices):
    """The n-th party takes n times as long."""

    def device(self, index: int, rng: np.random.Generator) -> Device:
        return Device(factor=index + 1.0)


@pytest.mark.parametrize(("count", "times"), [(10, 2.36), (50, 3.14), (1000, 4.31)])
def test_the_slowest_of_half_normals(count: int, times: float) -> None:
    """The expected maximum of half-normal numbers, in times of their mean."""
    devices, rng = HalfNormal(mean=2.0), np.random.default_rng(0)
    num_rounds = 200_000 // count
    factors = np.array([devices.device(0, rng).factor for _ in range(num_rounds * count)])
    slowest = factors.reshape(num_rounds, count).max(1) / 2.0
    error = 4 * np.std(slowest) / math.sqrt(num_rounds)
    assert abs(np.mean(slowest) - times) < error + 0.006
    assert error < 0.15


@pytest.mark.parametrize(
    ("devices", "mean"),
    [
        (HalfNormal(mean=3.0), 3.0),
        (LogNormal(median=2.0, sigma=0.5), 2.0 * math.exp(0.125)),
        (Pareto(least=2.0, alpha=3.0), 3.0),
        (Phones(), (159 * 179 + 16428 * 588 + 18820 * 1642) / 35407 / 179),
        (Same(factor=4.0), 4.0),
    ],
)
def test_a_distribution_has_its_mean(devices: Devices, mean: float) -> None:
    factors = [clock(devices).device(party, 1).factor for party in PARTIES]
    assert np.mean(factors) == pytest.approx(mean, rel=0.12)
    assert min(factors) >= 0


def test_a_trip_is_the_sum_of_its_parts() -> None:
    made = clock(Same(factor=3.0, watts=2.0), Own(down=8, up=4, latency=50), step_seconds=0.01)
    trip = made.trip("party 1", 5, 100.0, Work(1_000_000, 20, 500_000))
    assert trip.down == pytest.approx(0.05 + 1.0)
    assert trip.train == pytest.approx(0.6)
    assert trip.up == pytest.approx(0.05 + 1.0)
    assert trip.joules == pytest.approx(1.2)
    assert trip.end == pytest.approx(100.0 + 2.7)
    assert trip.version == 4


def test_lost_packets_are_sent_again() -> None:
    assert Line(loss=0.2).seconds(800, 1000) == pytest.approx(1.0)
    assert Line(latency=0.5).seconds(0, 1000) == 0.0


def test_a_party_has_one_line_and_one_device() -> None:
    made = clock(LogNormal(), Mobile4G(spread=0.5))
    again = clock(LogNormal(), Mobile4G(spread=0.5))
    assert made.line("party 3") == again.line("party 3") != made.line("party 4")
    assert made.device("party 3", 1) == again.device("party 3", 9)
    each = clock(LogNormal(per="trip"))
    assert each.device("party 3", 1) == each.device("party 3", 1) != each.device("party 3", 2)


class TestWhoIsLate:
    def begun(self, **options: float) -> VirtualClock:
        made = clock(InTurn(), **options)
        made.begin(1, 10.0, dict.fromkeys(PARTIES[:6], Work(0, 1, 0)), wanted=4)
        return made

    def ended(self, made: VirtualClock, late: dict[str, str]) -> float:
        works = {p: Work(0, 1, 0) for p in PARTIES[:6] if p not in late}
        return made.end(1, works)[0]

    def test_the_slowest_ends_a_round(self) -> None:
        made = self.begun()
        assert made.late(PARTIES[:6], 1) == {}
        assert self.ended(made, {}) == 16.0

    def test_a_deadline_ends_a_round(self) -> None:
        made = self.begun(deadline=2.5)
        late = made.late(PARTIES[:6], 1)
        assert [*late] == PARTIES[2:6]
        assert "3 s, and the deadline is 2.5 s" in late["party 3"]
        assert self.ended(made, late) == 12.5

    def test_the_fastest_of_more_end_a_round(self) -> None:
        made = self.begun(over_select=1.5)
        late = made.late(PARTIES[:6], 1)
        assert sorted(late) == PARTIES[4:6]
        assert self.ended(made, late) == 14.0

    def test_others_take_the_place_of_those_that_failed(self) -> None:
        made = self.begun(over_select=1.5)
        answering = [party for party in PARTIES[:6] if party != "party 2"]
        assert [*made.late(answering, 1)] == ["party 6"]

    def test_a_round_waits_for_as_many_as_its_rule_needs(self) -> None:
        made = self.begun(deadline=0.5)
        late = made.late(PARTIES[:6], 2)
        assert sorted(late) == PARTIES[2:6]
        assert self.ended(made, late) == 12.0


@pytest.mark.parametrize(
    ("rows", "options", "least", "steps"),
    [
        (100, {"batch_size": 32, "epochs": 1}, 1, 4),
        (97, {"batch_size": 32, "epochs": 3}, 2, 9),
        (5, {"batch_size": 32, "epochs": 2}, 1, 2),
        (100, {"batch_size": 32, "epochs": 1, "steps": 7}, 1, 7),
    ],
)
def test_batches_of_a_party(rows: int, options: dict[str, int], least: int, steps: int) -> None:
    assert num_steps(rows, options, least) == steps


def test_trips_survive_json() -> None:
    trips = {"a": Trip(1.0, 0.0, 0.1, 2.0, 0.3, 4.0, 3)}
    assert trips_from_json(trips_to_json(trips)) == trips
