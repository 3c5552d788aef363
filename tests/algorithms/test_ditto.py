"""Ditto: a model at each party, held near the fused one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from personal_runs import (
    WHOLE,
    arrays,
    federation_of,
    gradient,
    kept,
    linear,
    same,
    trained,
    two_groups,
)


class TestDitto:
    def test_every_step_is_held_by_the_fused_model(self, rows: Any) -> None:
        lr, held = 0.1, 2.0
        federation = federation_of(
            rows, linear(), parties=2, personal=f"ditto:lambda={held}", epochs=3, lr=lr, **WHOLE
        )
        own = [arrays(federation.model.module)] * 2
        for _ in range(2):
            anchor = {
                name: array.astype(np.float64)
                for name, array in (federation.weights or own[0]).items()
            }
            next(federation.rounds(1))
            for i, party in enumerate(federation.parties):
                for _ in range(3):
                    steep = gradient(own[i], party.train)
                    own[i] = {
                        n: own[i][n] - lr * (steep[n] + held * (own[i][n] - anchor[n]))
                        for n in anchor
                    }
                assert same(kept(party), own[i], 1e-5)

    def test_the_more_it_is_held_the_nearer_it_stays(self, rows: Any, net: Any) -> None:
        def distance(held: float) -> float:
            federation = federation_of(
                two_groups(rows), net(), personal=f"ditto:lambda={held}", lr=0.01
            )
            *_, before, _ = [federation.weights for _ in federation.rounds(12)]
            own = [kept(party) for party in federation.parties]
            return sum(
                float(np.abs(weights[n] - before[n]).sum()) for weights in own for n in before
            )

        far, near, nearest = (distance(held) for held in (0, 5, 90))
        assert far > 1.2 * near > 2 * nearest > 0

    @pytest.mark.parametrize(
        "rule", ["fedavg", "fedprox:mu=1", "scaffold", "feddyn:alpha=1", "fda"]
    )
    def test_lambda_0_is_training_alone_with_any_rule(self, rows: Any, net: Any, rule: str) -> None:
        run = trained(rows, net(), fusion=rule, personal="ditto:lambda=0", **WHOLE)
        for party in run.parties:
            assert party.personal["loss"] == pytest.approx(party.alone["loss"], abs=1e-5)
        assert run.parties[0].personal["loss"] != pytest.approx(
            run.parties[0].fused["loss"], abs=1e-3
        )
