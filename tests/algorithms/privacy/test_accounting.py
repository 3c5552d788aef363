"""Epsilon against published tables, closed forms and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fusion_nb.algorithms.privacy.accounting import epsilon, gaussian_epsilon, smallest_noise
from fusion_nb.algorithms.privacy.ledger import Ledger


def test_epsilon_of_one_gaussian_release_is_where_its_delta_is() -> None:
    # delta by numeric integration of the privacy loss, not by the formula that is tested
    for mu in (0.5, 1.0, 3.0):
        found = gaussian_epsilon(mu, 1e-5)
        x = np.linspace(-12, 12 + mu, 400_001)
        density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        shifted = np.exp(-((x - mu) ** 2) / 2) / math.sqrt(2 * math.pi)
        excess = np.maximum(shifted - np.exp(found) * density, 0)
        assert float(np.trapezoid(excess, x)) == pytest.approx(1e-5, rel=1e-3)


@pytest.mark.parametrize("mu", [1e-3, 0.1, 40.0, 1000.0])
def test_epsilon_stays_finite_and_near_its_asymptote(mu: float) -> None:
    found = gaussian_epsilon(mu, 1e-5)
    rough = mu**2 / 2 + mu * 4.2649  # the (1 - 1e-5) quantile of the privacy loss
    assert found == pytest.approx(rough, rel=0.05) if mu > 10 else 0 <= found <= rough


def test_releases_of_all_compose_as_one_with_less_noise() -> None:
    assert epsilon(((1.0, 2.0, 4),), 1e-5) == pytest.approx(gaussian_epsilon(1.0, 1e-5))
    assert epsilon(((1.0, 2.0, 2), (1.0, 1.0, 1)), 1e-5) == pytest.approx(
        gaussian_epsilon(math.sqrt(1.5), 1e-5)
    )


def test_no_release_costs_nothing_and_no_noise_everything() -> None:
    assert epsilon((), 1e-5) == 0 == epsilon(((0.0, 1.0, 3),), 1e-5) == epsilon(((1, 1, 0),), 1e-5)
    assert epsilon(((0.5, 0.0, 1),), 1e-5) == math.inf


@pytest.mark.parametrize(
    ("chance", "noise", "count", "delta", "pld", "rdp"),
    [
        (256 / 60000, 1.1, 14062, 1e-5, 2.38, 2.60),  # the tutorial of TensorFlow Privacy
        (240 / 60000, 1.3, 3750, 1e-5, 0.83, 0.92),  # the example of Opacus, MNIST
        (0.5, 1.0, 11, 1e-3, 7.79, 9.01),  # Geyer et al., 100 parties
        (0.0508, 1.0, 412, 1e-6, 7.84, 8.58),  # Geyer et al., 10,000 parties
    ],
)
def test_sampled_releases_have_the_published_epsilon(
    chance: float, noise: float, count: int, delta: float, pld: float, rdp: float
) -> None:
    pytest.importorskip("dp_accounting")
    assert epsilon(((chance, noise, count),), delta) == pytest.approx(pld, rel=0.01)
    assert epsilon(((chance, noise, count),), delta, "rdp") == pytest.approx(rdp, rel=0.01)


def test_sampling_amplifies_and_rdp_is_never_smaller() -> None:
    pytest.importorskip("dp_accounting")
    sampled, whole = ((0.2, 1.0, 5),), ((1.0, 1.0, 5),)
    assert epsilon(sampled, 1e-5) < epsilon(whole, 1e-5)
    for events in (sampled, whole):
        assert epsilon(events, 1e-5) <= epsilon(events, 1e-5, "rdp")


def test_the_smallest_noise_keeps_the_promise_and_no_smaller_one_does() -> None:
    def spent(noise: float) -> float:
        return epsilon(((1.0, noise, 10),), 1e-5)

    found = smallest_noise(spent, 8.0)
    assert spent(found) <= 8.0 < spent(found * 0.998)
    assert found == float(f"{found:.4g}")


class TestLedger:
    def test_the_largest_holder_counts(self) -> None:
        ledger = Ledger().with_event("a", 1.0, 1.0).with_event("b", 1.0, 1.0, 3)
        assert ledger.epsilon(1e-5) == epsilon(((1.0, 1.0, 3),), 1e-5)
        assert ledger.epsilon_of("a", 1e-5) == epsilon(((1.0, 1.0, 1),), 1e-5)
        assert ledger.epsilon_of("b", 1e-5) == epsilon(((1.0, 1.0, 3),), 1e-5)
        assert ledger.epsilon_of("c", 1e-5) == 0

    def test_releases_of_everyone_are_those_of_each(self) -> None:
        ledger = Ledger().with_event("", 1.0, 1.0, 2).with_event("a", 1.0, 1.0)
        assert ledger.epsilon_of("a", 1e-5) == epsilon(((1.0, 1.0, 3),), 1e-5)
        assert ledger.epsilon_of("b", 1e-5) == epsilon(((1.0, 1.0, 2),), 1e-5)

    def test_it_survives_as_plain_data(self) -> None:
        ledger = Ledger().with_event("", 0.25, 1.5, 7).with_event("", 1.0, 1.5)
        assert Ledger.of_state(ledger.to_state()) == ledger

    def test_an_event_leaves_the_ledger_before_it_as_it_was(self) -> None:
        before = Ledger().with_event("a", 1.0, 1.0)
        before.with_event("a", 1.0, 1.0)
        assert before.events == {"a": ((1.0, 1.0, 1),)}
