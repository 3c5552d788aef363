from __future__ import annotations

import numpy as np

from fusion_nb.algorithms.fusions.averaging import fedavg, iter_avg
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import Update

UPDATES = (
    Update("a", {"x": np.array([0.0, 2.0])}, num_examples=1),
    Update("b", {"x": np.array([4.0, 6.0])}, num_examples=3),
)


def fused(rule: Fusion) -> list[float]:
    weights, _ = rule.aggregate({"x": np.zeros(2)}, iter(UPDATES), None)
    return weights["x"].tolist()


def test_fedavg_weighs_parties_by_their_rows() -> None:
    assert fused(fedavg()) == [3.0, 5.0]


def test_iter_avg_weighs_all_parties_alike() -> None:
    assert fused(iter_avg()) == [2.0, 4.0]
