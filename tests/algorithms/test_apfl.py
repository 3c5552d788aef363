"""APFL: a mixture of the shared model and a party's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from personal_runs import (
    WHOLE,
    arrays,
    federation_of,
    gradient,
    kept,
    linear,
    measured,
    mixed,
    normalizing,
    same,
    trained,
)


class TestAPFL:
    def test_alpha_0_is_the_partys_model_before_fusion(self, rows: Any) -> None:
        for model in (linear(), normalizing()):
            for record in trained(rows, model, personal="apfl:alpha=0").history:
                for found in record.party_metrics.values():
                    assert found["personal_loss"] == found["local_loss"]
                    assert found["personal_accuracy"] == found["local_accuracy"]

    def test_alpha_1_is_training_alone_on_the_same_batches(self, rows: Any, net: Any) -> None:
        for optimizer in ("sgd", "sgd:momentum=0.9", "adam"):
            run = trained(
                rows, net(), personal="apfl:alpha=1", optimizer=optimizer, fusion="fedprox:mu=1"
            )
            for record in run.history:
                for found in record.party_metrics.values():
                    assert found["personal_loss"] == found["alone_loss"] != found["local_loss"]

    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_every_step_by_hand(self, rows: Any, momentum: float) -> None:
        lr, alpha, optimizer = 0.1, 0.3, f"sgd:momentum={momentum}"
        options = {
            "personal": f"apfl:alpha={alpha}",
            "optimizer": optimizer,
            "epochs": 3,
            "parties": 2,
            **WHOLE,
        }
        federation = federation_of(rows, linear(), lr=lr, **options)
        own = [arrays(federation.model.module)] * 2
        for _ in range(2):
            start = {
                name: array.astype(np.float64)
                for name, array in (federation.weights or own[0]).items()
            }
            next(federation.rounds(1))
            for i, party in enumerate(federation.parties):
                shared, speed = (
                    start,
                    [{name: 0.0 * array for name, array in start.items()} for _ in range(2)],
                )
                for _ in range(3):
                    of_mixture = gradient(mixed(alpha, own[i], shared), party.train)
                    of_shared = gradient(shared, party.train)
                    speed[0] = {n: momentum * speed[0][n] + alpha * of_mixture[n] for n in start}
                    speed[1] = {n: momentum * speed[1][n] + of_shared[n] for n in start}
                    own[i] = {n: own[i][n] - lr * speed[0][n] for n in start}
                    shared = {n: shared[n] - lr * speed[1][n] for n in start}
                assert same(kept(party), mixed(alpha, own[i], shared), 1e-5)

    def test_frozen_weights_stay_and_batch_norm_is_that_of_the_mixture(self, rows: Any) -> None:
        model = normalizing()
        model[0].requires_grad_(False)
        run = trained(rows, model, personal="apfl")
        own = run.parties[0].model
        assert torch.equal(own[0].weight, model[0].weight)
        assert int(own[1].num_batches_tracked) > 0
        assert measured(own, run.federation.parties[0].test) == pytest.approx(
            run.parties[0].personal, abs=1e-6
        )

    def test_bfloat16(self, rows: Any, net: Any) -> None:
        run = trained(rows, net().bfloat16(), personal="apfl:alpha=1")
        assert run.history["personal_loss"] == run.history["alone_loss"]
