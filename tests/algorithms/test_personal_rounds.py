"""Personal models leave the fused one as it is, and belong to whole rounds."""

from __future__ import annotations

from typing import Any

import pytest
from personal_runs import (
    Interrupting,
    arrays,
    federation_of,
    interrupted,
    measured,
    reset_interruption,
    same,
    trained,
)


@pytest.fixture(autouse=True)
def _not_interrupted() -> None:
    reset_interruption()


class TestTheFusedModel:
    @pytest.mark.parametrize(
        "beside",
        [
            *(
                {"personal": name}
                for name in ("finetune:epochs=2", "ditto:lambda=1", "apfl:alpha=0.3", "ifca")
            ),
            *({"share": name} for name in ("best", "best:epochs=1")),
            *({"baseline": name} for name in ("central", "local", "central,local")),
        ],
        ids=lambda beside: next(iter(beside.values())),
    )
    @pytest.mark.parametrize(
        "fused", [{}, {"fusion": "scaffold", "optimizer": "sgd:momentum=0.9", "fraction": 0.5}]
    )
    def test_is_bit_for_bit_the_same_with_personal_models_and_baselines(
        self, rows: Any, net: Any, beside: Any, fused: Any
    ) -> None:
        plain, other = trained(rows, net(), **fused), trained(rows, net(), **fused, **beside)
        for metric in ("loss", "accuracy", "train_loss"):
            assert other.history[metric] == plain.history[metric]
        assert same(arrays(other.model), arrays(plain.model))
        assert [record.cohort for record in other.history] == [
            record.cohort for record in plain.history
        ]

    def test_a_method_around_a_rule_adds_no_bytes(self, rows: Any, net: Any) -> None:
        plain = trained(rows, net()).history[-1]
        for name in ("ditto", "apfl", "finetune"):
            last = trained(rows, net(), personal=name).history[-1]
            assert (last.bytes_up, last.bytes_down) == (plain.bytes_up, plain.bytes_down)


class TestPersonalModelsOfWholeRounds:
    @pytest.mark.parametrize("personal", ["ditto", "apfl", "fedper:layers=*.bias"])
    def test_after_a_stop_models_are_those_of_the_last_whole_round(
        self, rows: Any, personal: str
    ) -> None:
        run = interrupted(rows, 0.75, personal=personal)
        assert run.status == "stopped"
        for party, holder in zip(run.parties, run.federation.parties, strict=True):
            assert measured(party.model, holder.test) == pytest.approx(party.personal, abs=1e-6)

    @pytest.mark.parametrize("personal", ["ditto", "apfl", "fedper:layers=*.bias", "ifca"])
    def test_more_rounds_after_a_stop_continue_the_curve(self, rows: Any, personal: str) -> None:
        run = interrupted(rows, 0.75, personal=personal)
        run.more(3 - len(run.history)).wait()
        whole = trained(rows, Interrupting(), personal=personal).history
        assert [record.metrics for record in run.history] == [record.metrics for record in whole]
        assert run.history[-1].party_metrics == whole[-1].party_metrics

    def test_agreements_before_round_1_outlive_the_fine_tuning(self, rows: Any, net: Any) -> None:
        federation = federation_of(rows, net(), personal="finetune", fraction=0.25)
        for party in federation.parties:
            party.state["agreed"] = 1
        list(federation.rounds(1))
        federation.finish()
        assert all(party.state.get("agreed") for party in federation.parties)

    @pytest.mark.parametrize("personal", ["finetune", "ifca"])
    def test_parties_that_dropped_out_get_a_model_too(
        self, rows: Any, net: Any, personal: str
    ) -> None:
        run = trained(rows, net(), personal=personal, dropout=0.6)
        assert run.failures
        assert all(party.personal for party in run.parties)
