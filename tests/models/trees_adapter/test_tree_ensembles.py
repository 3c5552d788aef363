"""Boosted trees: parties add them to one ensemble, all of them at once or one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tree_samples import (
    FRAMEWORKS,
    classes,
    classifier,
    measurements,
    regressor,
    sites,
    trained,
)

from fusion_nb.core import arithmetic
from fusion_nb.models import trees

pytestmark = pytest.mark.parametrize("framework", FRAMEWORKS)


def probabilities(model: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict_proba(x))


@pytest.mark.parametrize(
    ("fusion", "num_classes"),
    [("bagging", 2), ("bagging", 4), ("bagging:eta=1", 3), ("bagging:eta=0", 3), ("cyclic", 3)],
)
def test_the_loss_falls_and_the_model_predicts_as_it_was_measured(
    framework: str, fusion: str, num_classes: int
) -> None:
    x, y = classes(num_classes=num_classes)
    run = trained(classifier(framework), sites((x, y)), fusion=fusion, rounds=6)
    assert run.history["loss"][-1] < run.history["loss"][0] < np.log(num_classes)
    right = np.mean(run.model.predict(x) == y)
    assert run.history["accuracy"][-1] == pytest.approx(right)
    own = probabilities(run.model, x)[np.arange(len(y)), y]
    assert run.history["loss"][-1] == pytest.approx(-np.log(own).mean(), rel=1e-4)


def test_every_party_adds_a_tree_for_each_class(framework: str) -> None:
    data = sites(classes())
    start = trees.read(trained(classifier(framework), data, rounds=1).weights).num_trees
    run = trained(classifier(framework), data, rounds=4, epochs=2)
    found = trees.read(run.weights)
    constant = 3 if framework == "lightgbm" else 0
    assert start == constant + 3 * 3
    assert found.num_trees == constant + 4 * 2 * 3 * 3
    assert not found.fault()
    assert "fedavg would have" not in str(run.summary()), "it can't average trees"


def test_in_a_circle_one_party_adds_its_trees(framework: str) -> None:
    run = trained(classifier(framework), sites(classes()), fusion="cyclic", rounds=5)
    constant = 3 if framework == "lightgbm" else 0
    assert trees.read(run.weights).num_trees == constant + 5 * 3
    turns = [set(record.cohort) - set(record.silent) for record in run.history]
    assert turns == [{"site 0"}, {"site 1"}, {"site 2"}, {"site 0"}, {"site 1"}]


def test_the_average_of_one_party_is_boosting_itself(framework: str) -> None:
    """With one party, bagging and the circle give the ensemble that the framework grows."""
    x, y = classes()
    data = {"alone": ((x, y), (x, y))}
    runs = [trained(classifier(framework), data, fusion=f, rounds=5) for f in ("bagging", "cyclic")]
    assert runs[0].history["loss"] == runs[1].history["loss"]
    own = classifier(framework, n_estimators=5)
    if framework == "lightgbm":
        own.set_params(boost_from_average=False)
    expected = own.fit(x, y)
    np.testing.assert_allclose(
        probabilities(runs[0].model, x), probabilities(expected, x), atol=0.02
    )


def test_equal_parties_average_to_one_of_them(framework: str) -> None:
    x, y = classes()
    both = {"a": ((x, y), (x, y)), "b": ((x, y), (x, y))}
    model = classifier(framework)
    run = trained(model, both, fusion="bagging:eta=1")
    alone = trained(model, {"a": both["a"]}, fusion="bagging:eta=1")
    np.testing.assert_allclose(
        probabilities(run.model, x), probabilities(alone.model, x), atol=1e-5
    )


def test_trees_are_weighted_by_rows(framework: str) -> None:
    """A party with nearly all rows decides: another one's trees hardly count."""
    x, y = classes()
    data = {"many": ((x, y), (x, y)), "few": ((x[:24], 2 - y[:24]), (x[:24], y[:24]))}
    run = trained(classifier(framework), data, fusion="bagging:eta=1", rounds=6)
    alone = trained(classifier(framework), {"many": data["many"]}, rounds=6)
    found, expected = (probabilities(each.model, x) for each in (run, alone))
    assert np.abs(found - expected).mean() < 0.15


def test_parties_of_one_class_each_get_all_classes(framework: str) -> None:
    x, y = classes()
    data = {f"only {k}": ((x[y == k], y[y == k]), (x[y == k], y[y == k])) for k in range(3)}
    run = trained(classifier(framework), data, rounds=3)
    assert probabilities(run.model, x).shape == (240, 3)
    assert run.status == "finished"


@pytest.mark.parametrize("fusion", ["bagging", "cyclic"])
def test_measurements_begin_at_their_mean(framework: str, fusion: str) -> None:
    x, y = measurements()
    run = trained(regressor(framework), sites((x, y)), fusion=fusion, rounds=10)
    assert run.history["loss"][0] < 1.01 * y.var()
    assert run.history["loss"][-1] < 0.5 * run.history["loss"][0]
    errors = run.model.predict(x) - y
    assert run.history["loss"][-1] == pytest.approx(np.mean(errors**2), rel=1e-4)
    assert run.history["mae"][-1] == pytest.approx(np.abs(errors).mean(), rel=1e-4)


@pytest.mark.parametrize("sample", [{"subsample": 0.5, "subsample_freq": 1}, {}], ids=str)
def test_the_seed_decides_the_curve(framework: str, sample: dict[str, Any]) -> None:
    options = dict(sample)
    if framework == "xgboost":
        options.pop("subsample_freq", None)
    runs = [
        trained(classifier(framework, **options), sites(classes()), seed=seed) for seed in (1, 1, 2)
    ]
    digests = [arithmetic.digest(run.weights) for run in runs]
    assert digests[0] == digests[1]
    assert (digests[0] != digests[2]) == bool(options)


@pytest.mark.slow
def test_processes_give_the_same_curve(framework: str) -> None:
    pytest.importorskip("cloudpickle")
    curves = [
        trained(classifier(framework), sites(classes()), engine=engine, rounds=2).history["loss"]
        for engine in ("local", "process:workers=2")
    ]
    assert curves[0] == curves[1]


def test_the_users_object_stays_as_it_is(framework: str) -> None:
    model = classifier(framework)
    before = str(model.get_params())
    trained(model, sites(classes()), rounds=1)
    assert str(model.get_params()) == before
    assert not model.__sklearn_is_fitted__()


def test_its_parameters_are_honoured(framework: str) -> None:
    x, y = classes()
    name = "max_depth" if framework == "xgboost" else "num_leaves"
    runs = [
        trained(classifier(framework, **{name: value}), sites((x, y)), rounds=2) for value in (2, 6)
    ]
    assert runs[0].history["loss"] != runs[1].history["loss"]
    assert runs[0].model.get_params()[name] == 2


def test_a_learning_rate_is_honoured(framework: str) -> None:
    data = sites(classes())
    slow, fast = (trained(classifier(framework), data, lr=lr) for lr in (0.01, 0.3))
    assert slow.history["loss"][-1] > fast.history["loss"][-1]
    assert any("lr: 0.01" in note for note in slow.notes)


def test_a_fit_is_the_start(framework: str) -> None:
    x, y = classes()
    model = classifier(framework, n_estimators=4).fit(x, y)
    run = trained(model, sites((x, y)), rounds=1)
    assert any("start: the trees" in note for note in run.notes)
    found = trees.read(run.weights)
    assert found.num_trees == 4 * 3 + 3 * 3
    assert (
        run.history["loss"][0]
        < trained(classifier(framework), sites((x, y)), rounds=1).history["loss"][0]
    )


@pytest.mark.parametrize("names", [["ant", "bee", "cow"], [2, 5, 9]], ids=str)
def test_labels_of_any_name_are_numbered(framework: str, names: list[Any]) -> None:
    x, y = classes()
    labels = np.array(names)[y]
    run = trained(classifier(framework), sites((x, labels)), rounds=4)
    found = run.model.predict(x)
    expected = labels if framework == "lightgbm" else y
    assert run.history["accuracy"][-1] == pytest.approx(np.mean(found == expected))


def test_only_new_trees_travel(framework: str) -> None:
    run = trained(classifier(framework), sites(classes()), rounds=6)
    sent = [record.bytes_up for record in run.history]
    assert max(sent) < 1.5 * min(sent)


def test_baselines_and_own_models_are_trained(framework: str) -> None:
    run = trained(classifier(framework), sites(classes()), baseline="central,local", rounds=3)
    assert {"central_loss", "alone_accuracy"} <= set(run.history[-1].metrics)
    own = trained(classifier(framework), sites(classes()), personal="finetune", rounds=2)
    assert "personal_accuracy" in own.history[-1].metrics


def test_a_party_that_fails_is_left_out(framework: str) -> None:
    run = trained(classifier(framework), sites(classes()), dropout=0.4, rounds=6)
    assert run.failures
    assert run.history["loss"][-1] < run.history["loss"][0]
