"""Promises of every method that gives parties models of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from personal_runs import METHODS, federation_of, kept, made, measured, same, trained
from torch import nn

from fusion_nb.errors import OptionError


@pytest.mark.parametrize("name", METHODS)
class TestEveryPersonalMethod:
    def test_same_seed_same_models_and_another_seed_others(
        self, rows: Any, net: Any, name: str
    ) -> None:
        runs = [trained(rows, net(), seed=seed, **METHODS[name]) for seed in (3, 3, 4)]
        one, again, other = [
            [*run.history["personal_loss"], run.parties[0].personal["loss"]] for run in runs
        ]
        assert str(one) == str(again)
        assert one[-1] != other[-1]
        assert all(np.isfinite(value) for value in runs[0].parties[0].personal.values())

    def test_two_rounds_and_two_more_are_four(self, rows: Any, net: Any, name: str) -> None:
        whole = federation_of(rows, net(), fraction=0.5, **METHODS[name])
        expected = [record.metrics for record in whole.rounds(4)]
        parts = federation_of(rows, net(), fraction=0.5, **METHODS[name])
        found = [record.metrics for _ in range(2) for record in parts.rounds(2)]
        assert found == expected
        for federation in (whole, parts):
            federation.finish()
        assert parts.history[-1].metrics == whole.history[-1].metrics
        assert same(*(kept(f.parties[0]) for f in (whole, parts)))

    def test_half_of_the_parties_in_each_round(self, rows: Any, net: Any, name: str) -> None:
        run = trained(rows, net(), fraction=0.5, rounds=8, **METHODS[name])
        for party in run.parties:
            holder = next(p for p in run.federation.parties if p.id == party.id)
            assert np.isfinite(party.personal["loss"])
            if name in (
                "finetune",
                "ifca",
            ):  # given after the last round, and not in that of the party's last turn
                assert measured(party.model, holder.test) == pytest.approx(party.personal, abs=1e-6)

    def test_the_table_has_a_column_for_each_kind_of_model(
        self, rows: Any, net: Any, name: str
    ) -> None:
        run = trained(rows, net(), **METHODS[name])
        kinds = (
            ("alone", "local", "personal")
            if name == "fedper"
            else ("alone", "local", "fused", "personal")
        )
        assert run.parties.table("accuracy")[0][3:] == [f"{kind} accuracy" for kind in kinds]
        assert f"{METHODS[name].get('personal', 'best')} for each party" in repr(run)

    def test_measured_every_few_rounds(self, rows: Any, net: Any, name: str) -> None:
        often, seldom = (
            trained(rows, net(), rounds=5, evaluate_every=n, **METHODS[name]) for n in (1, 2)
        )
        assert often.history[-1].metrics == seldom.history[-1].metrics
        assert np.isnan(seldom.history["alone_loss"]).tolist() == [True, False, True, False, False]

    def test_numbers_and_two_classes(self, rows: Any, net: Any, name: str) -> None:
        x, _ = rows
        for labels in (x @ np.arange(5.0, dtype=np.float32), x[:, 0] > 1):
            run = trained((x, labels), net(5, 1), lr=0.01, **METHODS[name])
            for metric in run.federation.model.metrics:
                assert np.isfinite(run.history[f"personal_{metric}"][-1])
            assert "of 4 parties with one of their own" in run.summary()

    def test_parties_without_test_rows_of_their_own(self, rows: Any, net: Any, name: str) -> None:
        x, y = rows
        data = ((x[:200], y[:200]), (x[200:], y[200:]))
        if name == "fedper":
            with pytest.raises(OptionError, match="not all have test rows of their own"):
                made(data, net(), holdout=0, **METHODS[name])
            return
        run = trained(data, net(), holdout=0, **METHODS[name])
        assert run.history["loss"] == trained(data, net(), holdout=0).history["loss"]
        # Where sharing measures, the aggregator's rows stand in: it has no others to choose by.
        assert bool(run.parties[0].personal) == (name == "share")
        assert isinstance(run.parties[0].model, nn.Module)
        assert "nan" not in run.summary()

    def test_one_party(self, rows: Any, net: Any, name: str) -> None:
        method = {"share": "best:groups=1"} if name == "share" else METHODS[name]
        run = trained(rows, net(), parties=1, **method)
        assert np.isfinite(run.parties[0].personal["loss"])
