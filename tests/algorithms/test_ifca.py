"""IFCA: a model for each cluster of parties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from linear_parties import Recording, fusion_state, info_of, remade
from personal_runs import (
    WHOLE,
    arrays,
    federation_of,
    linear,
    made,
    measured,
    same,
    trained,
    two_groups,
)

from fusion_nb import fusion
from fusion_nb.algorithms.fusions.averaging import fedavg
from fusion_nb.algorithms.personalization.ifca import IFCA
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import LocalContext, NoUpdate
from fusion_nb.errors import OptionError


class TestIFCA:
    def test_parties_that_contradict_each_other_part(self, rows: Any, net: Any) -> None:
        run = trained(two_groups(rows), net(), personal="ifca", rounds=15, epochs=2)
        own = [arrays(party.model) for party in run.parties]
        assert all(same(own[0], other) for other in own[1:3])
        assert all(same(own[3], other) for other in own[4:])
        assert not same(own[0], own[3])
        assert run.history["personal_accuracy"][-1] > 0.85 > 0.7 > run.history["accuracy"][-1]

    def test_one_cluster_is_fedavg(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="ifca:clusters=1", split="quantity:alpha=1", **WHOLE)
        for party in run.parties:
            assert party.personal["loss"] == pytest.approx(party.fused["loss"], abs=1e-5)

    def test_each_clusters_model_is_the_mean_of_those_who_joined_it(
        self, rows: Any, net: Any
    ) -> None:
        options = {"personal": "ifca:clusters=3", "split": "quantity:alpha=1", "parties": 5}
        seen = Recording()
        federation = remade(federation_of(rows, net(), **options), seen)
        first = fusion_state(federation)["clusters"]
        next(federation.rounds(1))
        for number, cluster in enumerate(fusion_state(federation)["clusters"]):
            joined = [reply for reply in seen.updates if reply.extras["cluster"] == number]
            expected = first[number] if not joined else None
            sizes = [reply.num_examples for reply in joined]
            for name, array in cluster.items():
                models = [reply.extras["personal"][name] for reply in joined]
                mean = np.average(models, axis=0, weights=sizes) if joined else expected[name]
                assert np.allclose(array, mean, atol=1e-7)

    def test_a_party_joins_the_model_with_the_lowest_loss_on_its_training_rows(
        self, rows: Any
    ) -> None:
        seen = Recording()
        federation = federation_of(two_groups(rows), linear(), personal="ifca:clusters=3")
        federation = remade(federation, seen)
        models = fusion_state(federation)["clusters"]
        next(federation.rounds(1))
        for party, reply in zip(federation.parties, seen.updates, strict=True):
            losses = [
                measured(federation.model.native(model), party.train)["loss"] for model in models
            ]
            assert reply.extras["cluster"] == int(np.argmin(losses))

    def test_the_first_models_hold_the_same_numbers_in_another_order(self, net: Any) -> None:
        weights = {name: tensor.numpy() for name, tensor in net().state_dict().items()}
        state = IFCA(fedavg(), clusters=3).init(weights, info_of(weights))
        first, *others = state["clusters"]
        assert first is weights
        for other in others:
            for name, array in weights.items():
                assert np.array_equal(np.sort(other[name].ravel()), np.sort(array.ravel()))
            assert not np.array_equal(other["0.weight"], weights["0.weight"])
        assert not np.array_equal(others[0]["0.weight"], others[1]["0.weight"])

    def test_bytes_of_the_clusters_models_are_counted(self, rows: Any, net: Any) -> None:
        size = sum(p.numel() * 4 for p in net().parameters())
        for record in trained(rows, net(), personal="ifca:clusters=3").history:
            assert record.bytes_down == 4 * size * (1 + 3)
            assert record.bytes_up == 4 * (2 * size + 8)

    def test_a_party_without_update_sends_no_clusters_model(self, rows: Any, net: Any) -> None:
        @fusion(name="mute")
        class Mute(Fusion):
            def local_update(self, context: LocalContext) -> NoUpdate:
                context.train(context.weights)
                return context.no_update()

            def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
                return weights, state

        run = trained(rows, net(), fusion="mute", personal="ifca")
        assert [record.bytes_up for record in run.history] == [0, 0, 0]

    def test_personal_metrics_are_those_after_the_last_round(self, rows: Any, net: Any) -> None:
        history = trained(rows, net(), personal="ifca").history
        assert np.isfinite(history["personal_loss"]).tolist() == [False, False, True]
        with pytest.raises(
            OptionError, match="names the metric 'personal_loss', which this run does not have"
        ):
            made(rows, net(), personal="ifca", until="personal_loss < 1")
