"""Which parties train in a round: by chance, by loss, by name, by roles; and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb import RunSpec
from fusion_nb.algorithms import samplings
from fusion_nb.core.history import History
from fusion_nb.core.protocols import Change, SamplingContext
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import ContractError, FusionError, OptionError, PartyError
from fusion_nb.runs.build import build

PARTIES = [f"party {i + 1}" for i in range(4)]


def cohorts(run: Any) -> list[tuple[str, ...]]:
    return [record.cohort for record in run.history]


def test_uniform_is_the_default(run_of: Any, net: Any) -> None:
    plain = run_of(net(), fraction=0.5).start().wait()
    named = run_of(net(), fraction=0.5, sampling="uniform").start().wait()
    assert cohorts(plain) == cohorts(named)
    assert plain.history["loss"] == named.history["loss"]


def test_poisson_draws_each_party_by_itself() -> None:
    poisson = samplings.poisson
    drawn = [poisson(SamplingContext(PARTIES, round, 0), q=0.25) for round in range(1, 801)]
    shares = [np.mean([party in cohort for cohort in drawn]) for party in PARTIES]
    assert shares == pytest.approx([0.25] * 4, abs=0.06)
    assert {len(cohort) for cohort in drawn} == {0, 1, 2, 3, 4}
    assert poisson(SamplingContext(PARTIES, 3, 0, fraction=0.25)) == drawn[2]


def test_a_round_without_parties_keeps_the_weights(run_of: Any, net: Any) -> None:
    run = run_of(net(), sampling="poisson:q=0.2", rounds=6, baseline="central,local")
    run.start().wait()
    empty = [record for record in run.history if not record.cohort]
    assert empty
    for record in empty:
        assert record.bytes_up == record.bytes_down == 0
        assert "train_loss" not in record.metrics
        assert not record.synchronised
        if record.round > 1:
            before = run.history[record.round - 2]
            for name in ("loss", "central_loss", "alone_loss"):
                assert record.metrics[name] == before.metrics[name]
    said = next(note for note in run.notes if "will pass without training" in note)
    assert all(str(record.round) in said for record in empty)


def test_a_fusion_of_more_parties_lets_small_rounds_pass(run_of: Any, net: Any) -> None:
    run = run_of(net(), parties=6, sampling="poisson:q=0.5", fusion="trimmed_mean", rounds=8)
    run.start().wait()
    sizes = {len(cohort) for cohort in cohorts(run)}
    assert 0 in sizes
    assert min(sizes - {0}) >= 3


def test_too_few_parties_of_a_uniform_cohort_stay_a_mistake(rows: Any, net: Any) -> None:
    made = build(RunSpec(data="data", parties=5, fusion="krum:f=1"), {"data": rows, "model": net()})
    made.plan.add(Change({"fraction": 0.2}))
    with pytest.raises(PartyError, match="krum needs"):
        made.train_round(is_last=False)


def records_of(losses: dict[str, float]) -> History:
    metrics = {party: {"train_loss": value} for party, value in losses.items()}
    return History([RoundRecord(1, {}, metrics, tuple(losses), 0.0, 0, 0)])


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({"party 1": 0.1, "party 2": 0.9, "party 3": 0.5, "party 4": 0.7}, {"party 2", "party 4"}),
        ({"party 1": 0.1, "party 2": 0.9, "party 3": 0.5}, {"party 2", "party 4"}),
        ({}, {"party 1", "party 2"}),
    ],
)
def test_loss_takes_the_largest_and_those_that_have_none(
    losses: dict[str, float], expected: set[str]
) -> None:
    context = SamplingContext(PARTIES, 2, 0, fraction=0.5, history=records_of(losses))
    assert {*samplings.loss(context, d=4)} == expected


def test_loss_follows_the_history_of_the_run_also_when_it_is_resumed(
    rows: Any, net: Any, tmp_path: Any
) -> None:
    options = {"parties": 4, "lr": 0.1, "fraction": 0.5, "sampling": "loss:d=4"}
    whole = fusion_nb.federate(net(), rows, rounds=6, **options)
    latest: dict[str, float] = {}
    for record in whole.history:
        unknown = [party for party in PARTIES if party not in latest]
        ranked = unknown + sorted(latest, key=lambda party: -latest[party])
        assert {*record.cohort} == {*ranked[:2]}
        latest |= {p: m["train_loss"] for p, m in record.party_metrics.items() if "train_loss" in m}
    folder = str(tmp_path / "saved")
    fusion_nb.federate(net(), rows, rounds=3, checkpoint=folder, name="begun", **options)
    resumed = fusion_nb.resume(folder, net(), rows, name="resumed")
    resumed.more(3).wait()
    assert cohorts(resumed) == cohorts(whole)
    assert resumed.history["loss"] == whole.history["loss"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("named:party 1|party 3", [("party 1", "party 3")] * 3),
        (["party 4", "party 2"], [("party 2", "party 4")] * 3),
        (
            {1: "party 1", 3: ["party 2", "party 4"]},
            [("party 1",), ("party 1",), ("party 2", "party 4")],
        ),
        (lambda context: context.parties[:1], [("party 1",)] * 3),
    ],
)
def test_parties_are_named_or_chosen_by_a_function(
    rows: Any, net: Any, given: Any, expected: Any
) -> None:
    run = fusion_nb.federate(net(), rows, parties=4, rounds=3, lr=0.1, sampling=given)
    assert cohorts(run) == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sampling": "unform"}, "did you mean 'uniform'?"),
        ({"sampling": "poisson"}, "chance 1"),
        ({"sampling": "poisson:q=2"}, "<= 1"),
        ({"sampling": "poisson:q=0.5", "fraction": 0.5}, "both say who trains"),
        ({"sampling": "poisson:q=0.0001"}, "no round would have"),
        ({"sampling": "loss"}, "all parties train in every round"),
        ({"sampling": "named"}, "needs the option 'parties'"),
        ({"sampling": "named:party 9"}, "names 'party 9'"),
        ({"sampling": "named:party 1", "fraction": 0.5}, "both say who trains"),
        ({"sampling": "named:party 1", "fusion": "dynamic:threshold=1"}, "all parties take part"),
        ({"sampling": "named:party 1", "fusion": "median"}, ""),
    ],
)
def test_what_does_not_go_together_is_refused(
    run_of: Any, net: Any, options: dict[str, Any], words: str
) -> None:
    if not words:
        run_of(net(), **options)
        return
    with pytest.raises(FusionError) as error:
        run_of(net(), **options)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("found", "words"),
    [(["x"], "no party that trains"), ("party 1", "not names"), (["party 1"] * 2, "twice")],
)
def test_a_function_that_returns_other_things_is_refused(
    rows: Any, net: Any, found: Any, words: str
) -> None:
    with pytest.raises(ContractError, match=words):
        fusion_nb.federate(net(), rows, sampling=lambda context: found)


def test_a_sampling_is_registered_by_its_name(rows: Any, net: Any) -> None:
    @fusion_nb.sampling
    def every_other(context: SamplingContext, *, start: int = 0) -> list[str]:
        return [*context.parties[start::2]]

    run = fusion_nb.federate(
        net(), rows, parties=4, rounds=2, lr=0.1, sampling="every_other:start=1"
    )
    assert cohorts(run) == [("party 2", "party 4")] * 2
    with pytest.raises(OptionError, match="can't be a sampling"):
        fusion_nb.sampling(lambda a, b: a)


class TestRoles:
    def test_one_that_evaluates_never_trains_and_is_measured(self, rows: Any, net: Any) -> None:
        run = fusion_nb.federate(
            net(), rows, parties=4, rounds=3, lr=0.1, roles={"party 2": "evaluate"}
        )
        assert cohorts(run) == [("party 1", "party 3", "party 4")] * 3
        metrics = run.history[-1].party_metrics["party 2"]
        assert "loss" in metrics
        assert "train_loss" not in metrics
        assert run.spec.roles == "party 2=evaluate"

    def test_one_that_only_trains_is_not_measured(self, rows: Any, net: Any) -> None:
        run = fusion_nb.federate(net(), rows, parties=4, rounds=2, lr=0.1, roles="party 2=train")
        assert cohorts(run)[0] == tuple(PARTIES)
        assert {*run.history[-1].party_metrics["party 2"]} == {"train_loss"}

    def test_control_variates_count_those_that_train(self, rows: Any, net: Any) -> None:
        run = fusion_nb.federate(
            net(), rows, parties=4, rounds=2, lr=0.1, fusion="scaffold", roles="party 4=evaluate"
        )
        assert run.federation.network.info.num_parties == 3

    @pytest.mark.parametrize("personal", ["finetune", "ditto"])
    def test_personal_models_are_those_of_parties_that_train(
        self, rows: Any, net: Any, personal: str
    ) -> None:
        run = fusion_nb.federate(
            net(), rows, parties=3, rounds=2, lr=0.1, personal=personal, roles="party 1=evaluate"
        )
        assert not run.parties[0].personal
        assert run.parties[1].personal

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"roles": "party 9=evaluate"}, "no such party"),
            ({"roles": "party 1=watch"}, "party=evaluate"),
            ({"roles": "party 1"}, "party=evaluate"),
            ({"roles": ";".join(f"{p}=evaluate" for p in PARTIES)}, "no party that trains"),
            ({"roles": ";".join(f"{p}=train" for p in PARTIES)}, "no test row"),
            ({"roles": "party 1=evaluate", "share": "best"}, "every party"),
            ({"roles": "party 1=evaluate", "ensemble": "mean"}, "every party"),
        ],
    )
    def test_wrong_roles_are_refused(
        self, run_of: Any, net: Any, options: dict[str, str], words: str
    ) -> None:
        with pytest.raises(OptionError) as error:
            run_of(net(), parties=4, **options)
        assert words in str(error.value)

    def test_rows_that_are_not_used_count_for_nothing(self, net: Any) -> None:
        x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
        parties = [(x[:20], np.arange(20) % 2), (x[20:], np.full(20, 2))]
        both = fusion_nb.federate(net(), parties, rounds=1, lr=0.1)
        assert not any("no party has a training row" in note for note in both.notes)
        run = fusion_nb.federate(net(), parties, rounds=1, lr=0.1, roles="party 2=evaluate")
        assert any("no party has a training row of class 2" in note for note in run.notes)
