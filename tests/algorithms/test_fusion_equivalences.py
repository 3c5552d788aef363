"""Rules that are another one with some options, and statistics that no rule steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from linear_parties import Recording, Rows, built, federation, flat
from torch import nn

from fusion_nb.core.types import Weights


def run(
    rows: Any, net: Any, fusion: str, **options: Any
) -> tuple[list[Mapping[str, float]], Weights]:
    """The metrics of three rounds on a skewed split, and the weights they end with."""
    made = built(rows, net(), fusion=fusion, **{"split": "dirichlet:alpha=0.5", **options})
    return [record.metrics for record in made.rounds(3)], made.weights


class TestRulesThatBecomeAnother:
    """Options with which a rule is another one."""

    @pytest.mark.parametrize(
        ("fusion", "plain"),
        [
            ("fedprox:mu=0", "fedavg"),
            ("fedavgm:beta=0,lr=1", "fedavg"),
            ("cmfl:threshold=0", "fedavg"),
            ("dynamic:threshold=0", "iter_avg"),
            ("dynamic:threshold=0,partial=false", "iter_avg"),
            ("fda:theta=0", "iter_avg"),
            ("fda:theta=0,monitor=naive", "iter_avg"),
        ],
    )
    def test_metrics_are_equal_bit_for_bit(
        self, fusion: str, plain: str, rows: Any, net: Any
    ) -> None:
        assert run(rows, net, fusion)[0] == run(rows, net, plain)[0]

    @pytest.mark.parametrize(
        ("fusion", "plain", "options"),
        [
            ("lag:xi=0", "fedavg", {}),
            ("qfedavg:q=0", "iter_avg", {}),
            ("fednova", "fedavg", {"split": "iid"}),
            ("fednova", "fedavg", {"local_steps": 3, "optimizer": "sgd:momentum=0.9"}),
        ],
    )
    def test_weights_are_equal_except_for_rounding(
        self, fusion: str, plain: str, options: Any, rows: Any, net: Any
    ) -> None:
        found, expected = run(rows, net, fusion, **options)[1], run(rows, net, plain, **options)[1]
        assert flat(found) == pytest.approx(flat(expected), abs=1e-6)

    def test_scaffolds_first_round_is_iter_avg(self, rows: Any, net: Any) -> None:
        found, expected = (run(rows, net, fusion)[0] for fusion in ("scaffold", "iter_avg"))
        assert found[0] == expected[0]
        assert found[1] != expected[1]

    def test_lag_with_xi_0_sends_always(self, rows: Any, net: Any) -> None:
        assert not any(record.silent for record in built(rows, net(), fusion="lag:xi=0").rounds(5))


def normed(count: int = 2) -> list[Rows]:
    """Parties of one size whose columns have very different spreads."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        y = np.arange(16) % 3
        rows.append(
            (
                (rng.normal(size=(16, 5)) * 5.0 ** (1 - 2 * i) + np.eye(3, 5)[y]).astype(
                    np.float32
                ),
                y,
            )
        )
    return rows


@pytest.mark.parametrize(
    "fusion",
    [
        *(
            "fedavgm:beta=0.9,lr=5",
            "fedadam:lr=3",
            "fedyogi:lr=3",
            "fedadagrad:lr=3",
            "fednova",
            "feddyn:alpha=0.01",
        ),
        *("scaffold:lr=4", "qfedavg:q=3", "lag:xi=0", "fedprox", "cmfl:threshold=0"),
    ],
)
def test_statistics_are_averaged_and_never_stepped(fusion: str) -> None:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 3))
    engine = Recording()
    made = federation(fusion, normed(), module, engine)
    for number, _ in enumerate(made.rounds(3), 1):
        for name in ("0.running_mean", "0.running_var"):
            mean = np.mean(
                [update.weights[name].astype(np.float64) for update in engine.updates], axis=0
            )
            assert made.weights[name] == pytest.approx(mean, rel=1e-6)
        assert (made.weights["0.running_var"] > 0).all()
        assert made.weights["0.num_batches_tracked"] == 3 * number
