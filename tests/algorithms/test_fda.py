"""FDA: estimates of the variance, and when all parties are averaged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from linear_parties import (
    START,
    UNLIKE,
    after,
    close_to,
    context_of,
    descend,
    federation,
    flat,
    named,
)

from fusion_nb.algorithms.fusions import fda_monitors


def variance(drifts: np.ndarray) -> float:
    """Mean squared distance from the mean."""
    return float(((drifts - drifts.mean(0)) ** 2).sum(1).mean())


def estimated(monitor: Any, drifts: np.ndarray, states: list[dict[str, Any]]) -> float:
    reports = [
        monitor.report(state, named(drift)) for state, drift in zip(states, drifts, strict=True)
    ]
    return monitor.estimate(sum(reports) / len(reports))


def see_common(monitor: Any, state: dict[str, Any], number: int, common: Any) -> None:
    """Let a party see the common weights of a round."""
    monitor.begin_round(context_of(named(common), state, number))


class TestMonitors:
    """Theologitis et al. 2025: the estimate is never less than the variance."""

    @pytest.fixture
    def drifts(self) -> Iterator[np.ndarray]:
        """Drifts of five parties, from all alike to all unlike."""
        rng = np.random.default_rng(0)
        return iter(
            [a * rng.normal(size=400) + rng.normal(size=(5, 400)) for a in np.linspace(0, 4, 100)]
        )

    def test_naive_and_linear_are_bounds(self, drifts: Iterator[np.ndarray]) -> None:
        naive, linear, rng = (
            fda_monitors.create("naive"),
            fda_monitors.create("linear"),
            np.random.default_rng(1),
        )
        for found in drifts:
            directions = rng.normal(size=400), found.mean(0) + 0.1 * rng.normal(size=400)
            for direction in directions:
                states: list[dict[str, Any]] = [{} for _ in found]
                for state in states:
                    see_common(linear, state, 1, np.zeros(400))
                    see_common(linear, state, 2, direction)
                assert variance(found) <= estimated(linear, found, states) * (1 + 1e-12)
                assert estimated(linear, found, states) <= estimated(naive, found, states)

    def test_naive_is_exact_without_a_common_direction(self) -> None:
        apart = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
        assert estimated(fda_monitors.create("naive"), apart, [{}] * 4) == pytest.approx(
            variance(apart)
        )

    def test_linear_is_exact_where_the_mean_keeps_its_direction(self) -> None:
        monitor, rng = fda_monitors.create("linear"), np.random.default_rng(2)
        found = rng.normal(size=(5, 30))
        states: list[dict[str, Any]] = [{} for _ in found]
        for state in states:
            see_common(monitor, state, 1, np.ones(30))
            see_common(monitor, state, 2, np.ones(30) + 7 * found.mean(0))
        assert estimated(monitor, found, states) == pytest.approx(variance(found))

    def test_linear_keeps_its_direction_while_nothing_is_synchronised(self) -> None:
        monitor, state = fda_monitors.create("linear"), {}
        for number, common in enumerate([[0.0, 0.0], [0.0, 2.0], [0.0, 2.0]], 1):
            see_common(monitor, state, number, common)
        assert monitor.report(state, named([3.0, 4.0])).tolist() == [25.0, 4.0]

    def test_linear_is_a_bound_where_a_party_missed_a_synchronisation(self) -> None:
        monitor = fda_monitors.create("linear")
        there: dict[str, Any] = {}
        away: dict[str, Any] = {}
        for number, common in enumerate([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], 1):
            see_common(monitor, there, number, common)
            if number != 2:
                see_common(monitor, away, number, common)
        # Each along what would be its own direction: from the two the mean would seem to go as far
        # as they do.
        found = np.array([[0.0, 1.0], [0.5**0.5, 0.5**0.5]])
        assert estimated(monitor, found, [there, away]) >= variance(found) > 0.1
        for state in (there, away):
            see_common(monitor, state, 4, [1.0, 2.0])
        assert estimated(monitor, found, [there, away]) == pytest.approx(
            1 - found[:, 1].mean() ** 2
        )

    def test_sketch_is_a_bound_except_for_its_epsilon(self, drifts: Iterator[np.ndarray]) -> None:
        monitor = fda_monitors.create("sketch")
        below = []
        for found in drifts:
            estimate, length = (
                estimated(monitor, found, [{}] * len(found)),
                float((found.mean(0) ** 2).sum()),
            )
            # Much less than without a sketch of the mean: within epsilon twice, and what a sketch
            # errs by.
            assert abs(estimate - variance(found)) <= 0.3 * length
            below.append(estimate < variance(found))
        assert np.mean(below) < 0.2

    def test_the_mean_of_sketches_is_the_sketch_of_the_mean(
        self, drifts: Iterator[np.ndarray]
    ) -> None:
        monitor, found = fda_monitors.create("sketch"), next(drifts)
        reports = [monitor.report({}, named(drift)) for drift in found]
        assert np.mean(reports, axis=0)[1:] == close_to(
            monitor.report({}, named(found.mean(0)))[1:]
        )


class TestFDA:
    @pytest.mark.parametrize("monitor", ["naive", "linear", "sketch"])
    def test_the_variance_stays_below_theta(self, monitor: str) -> None:
        made = federation(f"fda:theta=0.05,monitor={monitor}", epochs=1)
        synchronised = []
        for record in made.rounds(25):
            places = np.array([flat(party.state["fusion"]["weights"]) for party in made.parties])
            assert variance(places) <= 0.05
            synchronised.append(record.synchronised)
        assert 0 < sum(synchronised) < 25

    def test_all_parties_continue_from_the_mean(self) -> None:
        made = federation("fda:theta=0", epochs=1)
        mean = np.mean([descend(START, own, 1) for own in UNLIKE], axis=0)
        assert after(1, made) == close_to(mean)
        for party in made.parties:
            assert flat(party.state["fusion"]["weights"]) == close_to(mean)
