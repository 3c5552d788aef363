"""The parties' reports: their table, and the comparison with models that were trained alone."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest

from fusion_nb.reporting.parties import Parties, PartyReport, by_kind


def report(name: str, **kinds: float | None) -> PartyReport:
    given = {
        kind: {} if value is None else {"accuracy": value, "loss": 1 - value}
        for kind, value in kinds.items()
    }
    return PartyReport(name, 10, 5, {}, **given)


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({}, ["local", "fused"]),
        ({"baseline": "central"}, ["local", "fused"]),
        ({"baseline": "local"}, ["alone", "local", "fused"]),
        ({"personal": "ditto"}, ["alone", "local", "fused", "personal"]),
        ({"share": "best"}, ["alone", "local", "fused", "personal"]),
        ({"personal": "fedper:layers=2.*"}, ["alone", "local", "personal"]),
    ],
    ids=str,
)
def test_a_column_appears_where_a_party_has_the_metric(
    trained: Any, net: Any, options: Any, kinds: list[str]
) -> None:
    run = trained(net(), rounds=1, **options)
    assert run.parties.table("accuracy")[0] == [
        "party",
        "rows",
        "test rows",
        *(f"{k} accuracy" for k in kinds),
    ]
    assert not any("–" in row for row in run.parties.table("accuracy"))
    columns = run.parties.to_frame().columns
    assert {name.partition("_")[0] for name in columns if name.endswith("_accuracy")} == {*kinds}


@pytest.mark.parametrize("monitor", ["accuracy", "loss"])
def test_gains_by_hand(trained: Any, net: Any, monitor: str) -> None:
    run = trained(net(), personal="ditto", split="dirichlet:alpha=0.3", monitor=monitor, rounds=4)
    worst, beats = (min, np.greater) if monitor == "accuracy" else (max, np.less)
    found = {
        k: [getattr(party, k)[monitor] for party in run.parties]
        for k in ("alone", "fused", "personal")
    }
    first, second = run.parties.gains(monitor)
    for kind, values in found.items():
        mean, spread = statistics.fmean(values), statistics.pstdev(values)
        assert f"{kind} {mean:.3f} (worst {worst(values):.3f}, spread {spread:.3f})" in first
    own = ("fused", "personal")
    counts = [int(beats(found[kind], found["alone"]).sum()) for kind in own]
    losses = [int(beats(found["alone"], found[kind]).sum()) for kind in own]
    worse = [f" ({n} of 4 are worse off)" if n else "" for n in losses]
    assert second == (
        f"better than alone: {counts[0]} of 4 parties with the fused model{worse[0]}, "
        f"{counts[1]} of 4 parties with one of their own{worse[1]}"
    )
    assert {first, second} <= {line.strip() for line in run.summary().splitlines()}
    assert first in run._repr_mimebundle_()["text/html"]


def test_gains_count_only_parties_that_can_be_compared() -> None:
    parties = Parties(
        [
            report("a", alone=0.5, fused=0.7, personal=0.5),
            report("b", alone=0.9, fused=0.7, personal=0.95),
            report("c", alone=None, fused=0.7, personal=None),
        ]
    )
    assert parties.gains("accuracy") == [
        "accuracy over parties: alone 0.700 (worst 0.500, spread 0.200), "
        "fused 0.700 (worst 0.700, spread 0.000), personal 0.725 (worst 0.500, spread 0.225)",
        "better than alone: 1 of 2 parties with the fused model (1 of 2 are worse off), 1 of 2 "
        "parties with one of their own",
    ]
    assert "alone 0.300 (worst 0.500, spread 0.200)" in parties.gains("loss")[0]
    assert Parties([report("c", fused=0.7)]).gains("accuracy") == []


@pytest.mark.parametrize(
    "monitor", ["personal_accuracy", "alone_accuracy", "central_accuracy", "local_accuracy"]
)
def test_the_table_of_a_baselines_metric_shows_all_models(monitor: str) -> None:
    parties = Parties([report("a", alone=0.5, local=0.6, fused=0.7, personal=0.8)])
    assert parties.table(monitor) == parties.table("accuracy")
    assert parties.table(monitor)[1][3:] == ["0.500", "0.600", "0.700", "0.800"]
    assert parties.gains(monitor) == parties.gains("accuracy") != []


def test_metrics_are_told_apart_by_the_model_that_they_belong_to() -> None:
    found = {"local_loss": 1.0, "loss": 2.0, "alone_loss": 3.0, "train_loss": 4.0}
    assert by_kind(found, ["loss", "accuracy"]) == {
        "alone": {"loss": 3.0},
        "local": {"loss": 1.0},
        "fused": {"loss": 2.0},
        "personal": {},
    }


class TestOrder:
    def names(self, parties: Parties, metric: str = "accuracy", limit: int = 10) -> list[str]:
        return [row[0] for row in parties.table(metric, limit)[1:]]

    def test_parties_stand_in_the_order_of_their_gain(self) -> None:
        parties = Parties(
            [
                report("same", alone=0.5, fused=0.5),
                report("loses", alone=0.9, fused=0.7),
                report("gains", alone=0.5, fused=0.7),
                report("unknown", alone=0.5, fused=None),
            ]
        )
        for metric in ("accuracy", "loss"):
            assert self.names(parties, metric) == ["gains", "same", "loses", "unknown"]

    def test_a_personal_model_decides_where_there_is_one(self) -> None:
        parties = Parties(
            [
                report("a", alone=0.5, fused=0.9, personal=0.4),
                report("b", alone=0.5, fused=0.1, personal=0.6),
            ]
        )
        assert self.names(parties) == ["b", "a"]

    def test_few_parties_that_trained_nothing_alone_keep_their_order(self) -> None:
        parties = Parties([report("a", fused=0.1), report("b", fused=0.9)])
        assert self.names(parties) == ["a", "b"]

    @pytest.mark.parametrize("limit", [2, 3, 4])
    def test_of_many_the_best_and_the_worst_are_shown(self, limit: int) -> None:
        parties = Parties([report(f"p{i}", fused=i / 10) for i in range(10)])
        best = [f"p{i}" for i in range(9, 9 - (limit - limit // 2), -1)]
        worst = [f"p{i}" for i in range(limit // 2 - 1, -1, -1)]
        more = f"and {10 - limit} more: .parties"
        assert self.names(parties, limit=limit) == [*best, more, *worst]


def test_what_a_notebook_shows_has_three_decimals_and_no_labels() -> None:
    parties = Parties(
        [PartyReport("a", 10, 5, {str(i): 1 for i in range(50)}, local={"loss": 1 / 3})] * 70
    )
    for shown in (parties._repr_html_(), repr(parties)):
        assert "0.333" in shown
        assert "0.3333" not in shown
        assert "label" not in shown
        assert "and 10 more" in shown
    assert "label_49" in parties.to_frame().columns
    assert repr(Parties()) == "no parties"
