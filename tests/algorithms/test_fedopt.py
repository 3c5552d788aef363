"""FedAvgM, FedAdagrad, FedAdam and FedYogi against a few lines of numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from linear_parties import built, close_to, info_of, named

from fusion_nb.core import registry
from fusion_nb.core.types import Update


def fused(name: str, rounds: list[list[np.ndarray]], sizes: list[int]) -> np.ndarray:
    """The weights after rounds of given changes: those of each party, by round."""
    rule = registry.create("fusions", name)
    weights = named([1.0, -1.0])
    state = rule.init(weights, info_of(weights, 2))
    for changes in rounds:
        updates = [
            Update(f"p{i}", named(weights["w"] + c), sizes[i]) for i, c in enumerate(changes)
        ]
        weights, state = rule.aggregate(weights, iter(updates), state)
    return weights["w"]


#: Changes of two parties in three rounds: some large, some tiny, some against each other.
CHANGES = [
    [np.array([0.3, -1e-4]), np.array([-0.1, 2e-4])],
    [np.array([0.2, 0.5]), np.array([0.4, 0.0])],
    [np.array([-0.6, 1e-5]), np.array([0.1, 0.0])],
]
SHARES = np.array([0.25, 0.75])


def mean_changes() -> list[np.ndarray]:
    return [SHARES @ np.array(changes) for changes in CHANGES]


class TestServerOptimizers:
    """Hsu et al. 2019; Reddi et al. 2021, Algorithm 2."""

    def test_fedavgm_is_momentum_on_the_mean_change(self) -> None:
        w, v = np.array([1.0, -1.0]), np.zeros(2)
        for delta in mean_changes():
            v = 0.6 * v + delta
            w = w + 0.5 * v
        assert fused("fedavgm:beta=0.6,lr=0.5", CHANGES, [10, 30]) == close_to(w)

    @pytest.mark.parametrize("name", ["fedadagrad", "fedadam", "fedyogi"])
    def test_adaptive_moments(self, name: str) -> None:
        w, m, v, tau = np.array([1.0, -1.0]), np.zeros(2), np.full(2, 0.02**2), 0.02
        for delta in mean_changes():
            m = 0.7 * m + 0.3 * delta
            v = {
                "fedadagrad": v + delta**2,
                "fedadam": 0.8 * v + 0.2 * delta**2,
                "fedyogi": v - 0.2 * delta**2 * np.sign(v - delta**2),
            }[name]
            w = w + 0.05 * m / (np.sqrt(v) + tau)
        options = "lr=0.05,beta1=0.7,tau=0.02" + ("" if name == "fedadagrad" else ",beta2=0.8")
        assert fused(f"{name}:{options}", CHANGES, [10, 30]) == close_to(w)

    @pytest.mark.parametrize("fusion", ["fedadagrad:lr=0.3", "fedadam:lr=0.2", "fedyogi:lr=0.2"])
    def test_adaptive_rules_reach_a_high_accuracy(self, fusion: str, rows: Any, net: Any) -> None:
        accuracy = [
            record.metrics["accuracy"] for record in built(rows, net(), fusion=fusion).rounds(10)
        ]
        assert accuracy[-1] > 0.9 > accuracy[0]
