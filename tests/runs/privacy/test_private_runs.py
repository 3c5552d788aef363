"""Private runs: the metric epsilon, budgets, early stopping, further rounds, and refusals."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb import Run
from fusion_nb.core import arithmetic
from fusion_nb.errors import FusionError, ModelError, OptionError, RunError

CENTRAL = {"parties": 6, "privacy": "central:clip=1,noise=2", "lr": 0.1}


def epsilons(run: Run) -> list[float]:
    return [record.metrics["epsilon"] for record in run.history]


def test_epsilon_is_a_metric_of_every_round(run_of: Callable[..., Run], net: Any) -> None:
    run = run_of(net(), **CENTRAL, evaluate_every=3).start().wait()
    assert len(epsilons(run)) == 4
    assert all(np.diff(epsilons(run)) > 0)
    assert any("epsilon" in note and "delta 1e-05 after 4 rounds" in note for note in run.notes)


def test_a_run_stops_at_an_epsilon(run_of: Callable[..., Run], net: Any) -> None:
    run = run_of(net(), **CENTRAL, rounds=20, until="epsilon >= 5").start().wait()
    assert epsilons(run)[-1] >= 5 > epsilons(run)[-2]
    assert len(run.history) < 20


@pytest.mark.parametrize(
    "options",
    [
        CENTRAL | {"monitor": "epsilon"},
        CENTRAL | {"privacy": "local:clip=1,noise=2", "monitor": "epsilon", "patience": 1},
        {"devices": "phones", "monitor": "virtual_seconds"},
        {"fusion": "fedbuff", "monitor": "virtual_seconds", "patience": 2},
    ],
)
def test_what_grows_with_rounds_does_not_tell_the_best_one(
    run_of: Callable[..., Run], net: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match="until"):
        run_of(net(), **options)


def test_one_round_is_one(run_of: Callable[..., Run], net: Any) -> None:
    run = run_of(net(), **CENTRAL, rounds=1).start().wait()
    assert any("after 1 round " in note for note in run.notes)


def test_epsilon_is_no_metric_of_other_runs(run_of: Callable[..., Run], net: Any) -> None:
    with pytest.raises(OptionError, match="epsilon"):
        run_of(net(), until="epsilon >= 5")


def test_the_noise_of_a_target_becomes_part_of_the_spec(
    run_of: Callable[..., Run], net: Any
) -> None:
    options = CENTRAL | {"privacy": "central:clip=1,noise=auto:epsilon=6"}
    run = run_of(net(), **options).start().wait()
    assert "auto" not in run.spec.privacy
    assert "budget=6" in run.spec.privacy
    assert 5.9 < epsilons(run)[-1] <= 6
    again = run_of(net(), **CENTRAL | {"privacy": run.spec.privacy}).start().wait()
    assert epsilons(again) == epsilons(run)


def test_more_rounds_past_a_budget_are_refused_before_they_are_trained(
    run_of: Callable[..., Run], net: Any
) -> None:
    options = CENTRAL | {"privacy": "central:clip=1,noise=2,budget=5"}
    run = run_of(net(), **options).start().wait()
    with pytest.raises(RunError, match=r"5 more rounds bring epsilon from .* budget of this run"):
        run.more(5)
    assert len(run.history) == 4
    assert run.status == "finished"
    run.more(1).wait()
    assert len(run.history) == 5
    with pytest.raises(RunError, match="budget"):
        run.more(2)


def test_a_step_past_a_budget_trains_nothing(run_of: Callable[..., Run], net: Any) -> None:
    options = CENTRAL | {"privacy": "central:clip=1,noise=auto:epsilon=6"}
    run = run_of(net(), **options).start().wait()
    with pytest.raises(RunError, match="budget"):
        run.step()
    assert len(run.records) == 4


def test_planned_rounds_past_a_budget_are_refused(run_of: Callable[..., Run], net: Any) -> None:
    options = CENTRAL | {"privacy": "central:clip=1,noise=2,budget=7"}
    with pytest.raises(OptionError, match="40 rounds cost epsilon"):
        run_of(net(), **options, rounds=40)


def test_a_secret_cohort_may_be_empty_and_nobody_learns_of_it(
    run_of: Callable[..., Run], net: Any
) -> None:
    pytest.importorskip("dp_accounting")
    run = run_of(net(), **CENTRAL, sampling="poisson:q=0.1", rounds=6).start()
    seen = []
    run.subscribe(lambda run: seen.append(run.weights))
    run.wait()
    empty = [record.round for record in run.history if not record.cohort]
    assert empty  # the seed has some
    assert not any("without training" in note for note in run.notes)
    assert all(np.diff(epsilons(run)) > 0)
    moved = [not arithmetic.equal(a, b) for a, b in itertools.pairwise(seen)]
    assert sum(moved) >= 5


def test_a_large_clip_without_noise_is_the_mean_of_the_parties(
    run_of: Callable[..., Run], net: Any
) -> None:
    module, plain = net(), {"parties": 6, "lr": 0.1}
    clipped = run_of(module, **plain, privacy="central:clip=1000,noise=0").start().wait()
    expected = run_of(module, **plain, fusion="iter_avg").start().wait()
    for name, array in clipped.weights.items():
        assert np.allclose(array, expected.weights[name], atol=1e-5)
    assert any("nothing is private" in note for note in clipped.notes)


def test_hostile_parties_are_clipped_too(run_of: Callable[..., Run], net: Any) -> None:
    module, options = net(), CENTRAL | {"privacy": "central:clip=0.1,noise=0", "rounds": 1}
    first = run_of(module, **options).weights
    run = run_of(module, **options, adversary="noise:num=5,sigma=1000").start().wait()
    assert arithmetic.distance(run.weights, first) <= 0.1 + 1e-6


@pytest.mark.parametrize("personal", ["finetune", "ditto"])
def test_personal_models_stay_at_their_parties(
    run_of: Callable[..., Run], net: Any, personal: str
) -> None:
    module = net()
    run = run_of(module, **CENTRAL, personal=personal).start().wait()
    plain = run_of(module, **CENTRAL).start().wait()
    assert epsilons(run) == epsilons(plain)
    if personal == "finetune":
        assert all(np.array_equal(run.weights[n], plain.weights[n]) for n in run.weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "median"}, "median compares"),
        ({"sampling": "loss", "fraction": 0.5}, "who takes part may depend"),
        ({"ensemble": "mean"}, "keeps the parties' models"),
        ({"personal": "ifca"}, "more than one update"),
        ({"share": "best"}, "hands on parties' models"),
        ({"changes": "2:fusion=fedavgm"}, "built around it"),
        ({"changes": "2:fraction=0.5"}, "counts on it"),
        ({"privacy": "central:clip=0,noise=1"}, "clip=0 is not allowed"),
        ({"privacy": "central:clip=1,noise=-1"}, "noise=-1 is not allowed"),
        ({"privacy": "central:clip=1,noise=nan"}, "noise=nan is not allowed"),
        ({"privacy": "central:clip=1,noise=auto:epsilon=0"}, "epsilon=0 is not allowed"),
        ({"privacy": "central:clip=1,noise=1,delta=1"}, "delta=1 is not allowed"),
        ({"privacy": "central:clip=1"}, "needs the option 'noise'"),
        ({"privacy": "centrl:clip=1,noise=1"}, "centrl"),
        ({"privacy": "central:clip=1,noise=auto:epsilon=8,budget=9"}, "a budget already"),
    ],
)
def test_bad_combinations_are_refused_before_training(
    run_of: Callable[..., Run], net: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FusionError, match=message):
        run_of(net(), **CENTRAL | options)


def test_batch_normalization_is_refused_with_what_to_use(run_of: Callable[..., Run]) -> None:
    from torch import nn

    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    with pytest.raises(ModelError, match="GroupNorm"):
        run_of(model, **CENTRAL)


def test_a_delta_that_allows_to_publish_a_party_is_told(
    run_of: Callable[..., Run], net: Any
) -> None:
    options = CENTRAL | {"privacy": "central:clip=1,noise=2,delta=0.2"}
    assert any("no less than 1 / 6, so" in note for note in run_of(net(), **options).notes)


@pytest.mark.parametrize("report", ["none", "noised:noise=5"])
def test_a_stack_is_refused_where_parties_report_nothing_exact(report: str) -> None:
    torch = pytest.importorskip("torch")
    rows = np.zeros((40, 3), np.float32), np.arange(40) % 2
    with pytest.raises(OptionError, match="sums of their predictions and labels"):
        fusion_nb.federate(torch.nn.Linear(3, 2), (rows, rows), ensemble="stack", report=report)
