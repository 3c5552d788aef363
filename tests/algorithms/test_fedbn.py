"""FedBN: batch normalization that each party keeps to itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from personal_runs import federation_of, made, normalizing, trained

from fusion_nb.errors import OptionError


class TestFedBN:
    def test_parties_keep_the_entries_of_batch_normalization_only(self, rows: Any) -> None:
        federation = federation_of(rows, normalizing(), personal="fedbn")
        list(federation.rounds(2))
        names = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        first = normalizing().state_dict()
        for party in federation.parties:
            assert {*party.state["fusion"]["layers"]} == {f"1.{name}" for name in names}
        assert all(
            np.array_equal(federation.weights[f"1.{name}"], first[f"1.{name}"]) for name in names
        )
        for name in ("0.weight", "3.weight", "3.bias"):
            assert not np.array_equal(federation.weights[name], first[name])
        means = [party.state["fusion"]["layers"]["1.running_mean"] for party in federation.parties]
        assert not np.array_equal(means[0], means[1])

    def test_a_model_without_any_is_refused(self, rows: Any, net: Any) -> None:
        with pytest.raises(OptionError, match="the model has no batch normalization"):
            made(rows, net(), personal="fedbn")

    def test_parties_that_see_the_same_differently_gain(self, rows: Any) -> None:
        x, y = rows
        scales = {f"scanner {i}": 1.0 + 4.0 * i for i in range(3)}
        parts = [slice(80 * i, 80 * i + 80) for i in range(3)]
        data = {
            name: (x[p] * s + 10 * s, y[p])
            for (name, s), p in zip(scales.items(), parts, strict=True)
        }
        run, plain = (
            trained(data, normalizing(), rounds=6, **o) for o in ({"personal": "fedbn"}, {})
        )
        assert run.history["personal_accuracy"][-1] > plain.history["accuracy"][-1] + 0.1

    @pytest.mark.parametrize("rule", ["scaffold", "fedprox:mu=0.1", "fedadam", "cmfl", "median"])
    def test_goes_around_other_rules(self, rows: Any, rule: str) -> None:
        federation = federation_of(rows, normalizing(), personal="fedbn", fusion=rule)
        records = list(federation.rounds(5))
        assert records[-1].metrics["personal_loss"] < records[0].metrics["personal_loss"]
        first = {
            name: tensor
            for name, tensor in normalizing().state_dict().items()
            if name.startswith("1.")
        }
        assert all(
            np.array_equal(federation.weights[name], tensor) for name, tensor in first.items()
        )
