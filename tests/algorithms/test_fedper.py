"""FedPer: layers that each party keeps to itself."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from linear_parties import Recording, remade
from personal_runs import federation_of, made, measured, trained

from fusion_nb import fusion
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import LocalContext, Update
from fusion_nb.errors import OptionError


class TestFedPer:
    OWN = ("2.weight", "2.bias")

    def test_local_layers_never_leave_a_party(self, rows: Any, net: Any) -> None:
        seen, first = Recording(), net().state_dict()
        federation = remade(federation_of(rows, net(), personal="fedper:layers=2.*"), seen)
        for _ in federation.rounds(3):
            for name, array in federation.weights.items():
                assert np.array_equal(array, first[name]) == (name in self.OWN)
        assert all({*reply.weights} == {"0.weight", "0.bias"} for reply in chain(*seen.rounds))
        assert not any(reply.extras for reply in chain(*seen.rounds))

    def test_bytes_are_those_of_the_shared_entries(self, rows: Any, net: Any) -> None:
        shared, whole = 4 * (5 * 8 + 8), 4 * (5 * 8 + 8 + 8 * 3 + 3)
        for record in trained(rows, net(), personal="fedper:layers=2.*").history:
            assert record.bytes_up == record.bytes_down == 4 * shared
            assert record.bytes_fedavg == 2 * 4 * whole

    def test_shared_entries_are_the_parties_weighted_mean(self, rows: Any, net: Any) -> None:
        options = {"personal": "fedper:layers=2.*", "split": "quantity:alpha=1"}
        seen = Recording()
        federation = remade(federation_of(rows, net(), **options), seen)
        list(federation.rounds(2))
        last = seen.updates
        sizes = [update.num_examples for update in last]
        assert len({*sizes}) > 1
        for name in ("0.weight", "0.bias"):
            mean = np.average([update.weights[name] for update in last], axis=0, weights=sizes)
            assert np.allclose(federation.weights[name], mean, atol=1e-7)

    def test_a_partys_model_is_whole_and_its_own(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="fedper:layers=2.*")
        for party, holder in zip(run.parties, run.federation.parties, strict=True):
            assert measured(party.model, holder.test) == pytest.approx(party.personal, abs=1e-6)
            assert torch.equal(party.model[0].weight, run.model[0].weight)
            assert party.fused == {}
        heads = [party.model[2].weight for party in run.parties]
        assert not any(torch.equal(heads[0], head) for head in [*heads[1:], run.model[2].weight])

    def test_a_party_continues_with_its_own_layers(self, rows: Any, net: Any) -> None:
        model = net()
        model[0].requires_grad_(False)  # no shared entry is trained
        run = trained(rows, model, personal="fedper:layers=2.*")
        assert run.history["personal_loss"] == run.history["alone_loss"]

    @pytest.mark.parametrize(
        ("pattern", "own"),
        [
            ("2.*", {"2.weight", "2.bias"}),
            ("0.weight|2.bias", {"0.weight", "2.bias"}),
            ("*.bias", {"0.bias", "2.bias"}),
            ("0.*|2.bias", {"0.weight", "0.bias", "2.bias"}),
        ],
    )
    def test_patterns_choose_the_local_layers(
        self, rows: Any, net: Any, pattern: str, own: set[str]
    ) -> None:
        federation = federation_of(rows, net(), personal=f"fedper:{pattern}")
        next(federation.rounds(1))
        assert all({*party.state["fusion"]["layers"]} == own for party in federation.parties)

    @pytest.mark.parametrize(
        ("pattern", "says"),
        [("2.*|7.*", "7.*' is the name of no weights"), ("*", "leaves nothing to be fused")],
    )
    def test_patterns_that_make_no_sense_are_refused_with_the_names(
        self, rows: Any, net: Any, pattern: str, says: str
    ) -> None:
        with pytest.raises(OptionError) as caught:
            made(rows, net(), personal=f"fedper:layers={pattern}")
        assert says in caught.value.message
        assert "0.weight, 0.bias, 2.weight, 2.bias" in caught.value.hint

    def test_the_inner_rule_sees_shared_entries_alone(self, rows: Any, net: Any) -> None:
        seen: list[set[str]] = []

        @fusion(name="looking")
        class Looking(Fusion):
            def init(self, weights: Any, info: Any) -> Any:
                assert set(info.entries) == info.trained == {*weights}
                return [*weights]

            def local_update(self, context: LocalContext) -> Update:
                result = context.train(context.weights)
                assert context.info.entries == (*context.weights,)
                assert context.evaluate_train(context.weights)["loss"] > 0
                assert context.evaluate_test(result.weights)["loss"] > 0
                seen.extend([{*context.weights}, {*result.weights}])
                return context.update(result.weights)

            def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
                seen.extend([{*state}, {*weights}, *({*update.weights} for update in updates)])
                return weights, state

        trained(rows, net(), fusion="looking", personal="fedper:layers=2.*")
        assert all(names == {"0.weight", "0.bias"} for names in seen)

    def test_the_central_test_set_is_not_used_and_a_note_says_so(self, rows: Any, net: Any) -> None:
        x, y = rows
        run = trained(((x[:200], y[:200]), (x[200:], y[200:])), net(), personal="fedper:layers=2.*")
        assert any("the central test set is not used" in note for note in run.notes)
        sizes = [party.num_test for party in run.parties]
        mean = np.average([party.personal["loss"] for party in run.parties], weights=sizes)
        assert run.history["personal_loss"][-1] == pytest.approx(mean)
