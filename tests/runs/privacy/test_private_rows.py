"""Runs that protect rows: epsilon per party, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusion_nb import Run, RunSpec
from fusion_nb.algorithms.privacy.accounting import epsilon
from fusion_nb.core import arithmetic
from fusion_nb.errors import FusionError, ModelError, RunError

pytest.importorskip("opacus")
pytest.importorskip("dp_accounting")

ROWS = {"parties": 3, "privacy": "rows:clip=1,noise=2", "batch_size": 16, "lr": 0.1, "rounds": 2}


def test_epsilon_is_the_largest_of_the_parties(run_of: Callable[..., Run], net: Any) -> None:
    run = run_of(net(), **ROWS, split="quantity:alpha=1").start().wait()
    of_parties = []
    for party in run.parties:
        chance = min(1.0, 16 / party.num_examples)
        of_parties.append(epsilon(((chance, 2.0, 2 * -(-party.num_examples // 16)),), 1e-5))
    assert run.history["epsilon"][-1] == pytest.approx(max(of_parties))
    assert len({*of_parties}) == 3


@pytest.mark.parametrize(
    "engine", ["local", pytest.param("process:workers=1", marks=pytest.mark.slow)]
)
def test_engines_have_one_curve(run_of: Callable[..., Run], net: Any, engine: str) -> None:
    options = ROWS | ({"rounds": 1} if engine != "local" else {})
    one = run_of(net(), **options, engine=engine).start().wait()
    other = run_of(net(), **options, engine="local:workers=2").start().wait()
    assert arithmetic.equal(one.weights, other.weights)


def test_many_parties_are_not_trained_as_one(run_of: Callable[..., Run], net: Any) -> None:
    run = run_of(net(), **ROWS | {"parties": 10})
    assert "engine: local (each row's gradient is clipped by itself)" in run.notes
    with pytest.raises(FusionError, match="clipped by itself"):
        run_of(net(), **ROWS | {"parties": 10}, engine="vectorized")


@pytest.mark.parametrize("fusion", ["median", "fedavgm", "fedprox:mu=0.1"])
def test_any_rule_may_follow_whose_parties_only_train(
    run_of: Callable[..., Run], net: Any, fusion: str
) -> None:
    run = run_of(net(), **ROWS, fusion=fusion).start().wait()
    assert 0 < run.history["epsilon"][0] < run.history["epsilon"][1]


def test_noise_is_found_for_the_steps_of_all_rounds(run_of: Callable[..., Run], net: Any) -> None:
    options = ROWS | {"privacy": "rows:clip=1,noise=auto:epsilon=4", "epochs": 2}
    run = run_of(net(), **options).start().wait()
    assert 3.9 < run.history["epsilon"][-1] <= 4
    with pytest.raises(RunError, match="budget"):
        run.more(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "scaffold"}, "control variates"),
        ({"personal": "ditto"}, "uses rows without noise"),
        ({"class_weights": "balanced"}, "uses rows without noise"),
        ({"keep_optimizer": True}, "keep their optimizers"),
        ({"changes": "2:epochs=3"}, "counts on it"),
        ({"changes": "2:fusion=median"}, "built around it"),
    ],
)
def test_bad_combinations_are_refused(
    run_of: Callable[..., Run], net: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FusionError, match=message):
        run_of(net(), **ROWS | options)


def test_other_frameworks_are_refused_by_name(rows: Any) -> None:
    from sklearn.linear_model import SGDClassifier

    names = {"model": SGDClassifier(loss="log_loss"), "rows": rows}
    with pytest.raises(ModelError, match="SGDClassifier agree on before round 1"):
        Run(RunSpec(data="rows", privacy="rows:clip=1,noise=1"), names)


def test_without_noise_it_is_sgd_on_batches_by_chance(run_of: Callable[..., Run], net: Any) -> None:
    options = ROWS | {"privacy": "rows:clip=1e9,noise=0", "batch_size": 1000, "parties": 2}
    found = run_of(net(), **options).start().wait()
    plain = run_of(net(), **{n: v for n, v in options.items() if n != "privacy"}).start().wait()
    for name, array in plain.weights.items():
        assert np.allclose(found.weights[name], array, atol=1e-5)
