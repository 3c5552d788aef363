"""A thousand masked parties: the sum of those that stay is theirs, whoever drops out and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography")
import torch
from test_secure_runs import Losing

from fusion_nb import RunSpec
from fusion_nb.algorithms.secure.masks import Masks
from fusion_nb.core import registry
from fusion_nb.core.federation import Federation
from fusion_nb.core.settings import FederationConfig
from fusion_nb.core.types import RoundRecord
from fusion_nb.runs.build import prepare

ROWS = np.random.default_rng(0).normal(size=(2000, 6)).astype(np.float32), np.arange(2000) % 3


def trained(rule: Any, engine: Any, *, count: int, fraction: float) -> tuple[Any, RoundRecord]:
    """The weights after a round of many parties, and its record."""
    torch.manual_seed(0)
    names = {"model": torch.nn.Linear(6, 3), "data": (ROWS, ROWS)}
    spec = RunSpec(data="data", parties=count, lr=0.1, holdout=0.0)
    resolved = prepare(spec, names).resolved
    config = FederationConfig(resolved.train_options, quorum=0.2, fraction=fraction)
    parties, test = resolved.data.parties, resolved.data.test
    made = Federation(parties, resolved.model, rule, engine, config, test=test)
    (record,) = list(made.rounds(1))
    return made.weights, record


@pytest.mark.parametrize(
    ("count", "fraction", "neighbours", "gone"),
    [
        (60, 0.5, 0, 1),
        (60, 1.0, 0, 1),
        pytest.param(1000, 0.1, 0, 3, marks=pytest.mark.slow),
        pytest.param(1000, 0.1, 98, 3, marks=pytest.mark.slow),
        pytest.param(1000, 1.0, 0, 20, marks=pytest.mark.slow),
    ],
)
def test_drop_outs_before_and_after_masking(
    count: int, fraction: float, neighbours: int, gone: int
) -> None:
    def rule() -> Any:
        return registry.create("fusions", "fedavg")

    plain, record = trained(rule(), Losing({}), count=count, fraction=fraction)
    cohort = list(record.cohort)
    steps = ("train", "share", "send masked changes", "reveal")
    lost = {step: cohort[i * gone : (i + 1) * gone] for i, step in enumerate(steps)}
    # Those who revealed nothing had sent their change before.
    never = [party for step in steps[:3] for party in lost[step]]
    expected, _ = trained(rule(), Losing({"train": never}), count=count, fraction=fraction)
    masks = Masks(rule(), neighbours=neighbours)
    found, masked = trained(masks, Losing(lost), count=count, fraction=fraction)
    assert list(masked.cohort) == cohort
    assert len(masked.failures) == 4 * gone
    for name, array in expected.items():
        assert np.allclose(found[name], array, atol=1e-5)
        assert not np.allclose(plain[name], array, atol=1e-5)
    told = masked.metrics["secure_up"]
    numbers = sum(array.size for array in plain.values())
    assert told > 1
    # Keys and shares are for neighbours alone: far less than for all parties.
    peers = masks.num_neighbours(len(cohort) - gone) or len(cohort)
    assert told * 4 * numbers < 4 * numbers + 64 + 32 + (peers + 1) * (160 + 2 * 66)
