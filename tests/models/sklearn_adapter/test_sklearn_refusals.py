"""Estimators, parameters, options and rows that are refused in one line, before any training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import ensemble, neighbors, svm, tree
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import ComplementNB, GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler
from sklearn_samples import classes, measurements, parties, trained

from fusion_nb.errors import FusionError


def refused(model: Any, data: Any = None, **options: Any) -> FusionError:
    with pytest.raises(FusionError) as caught:
        trained(model, parties(classes()) if data is None else data, **options)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("model", "nearest"),
    [
        (ensemble.RandomForestClassifier(), "XGBClassifier"),
        (ensemble.HistGradientBoostingRegressor(), "XGB"),
        (ensemble.AdaBoostClassifier(), "XGB"),
        (ensemble.VotingClassifier([]), "option ensemble"),
        (tree.DecisionTreeClassifier(), "XGB"),
        (svm.SVC(), "SGDClassifier"),
        (svm.LinearSVC(), "SGDClassifier"),
        (svm.SVR(), "SGDRegressor"),
        (neighbors.KNeighborsClassifier(), "GaussianNB"),
        (GridSearchCV(SGDClassifier(), {}), "the estimator itself"),
        (RidgeClassifier(), "LogisticRegression"),
        (Lasso(), "SGDRegressor"),
        (ElasticNet(), "SGDRegressor"),
        (ComplementNB(), "MultinomialNB"),
        (MiniBatchKMeans(3), "KMeans"),
        (RobustScaler(), "StandardScaler"),
        (PCA(2), "those that can"),
        (make_pipeline(PCA(2), LogisticRegression()), "StandardScaler"),
        (make_pipeline(StandardScaler(), svm.SVC()), "SGDClassifier"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_estimator_is_refused_with_the_nearest_that_can(model: Any, nearest: str) -> None:
    error = refused(model)
    assert "can't be" in error.message
    assert nearest in error.hint


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (SGDClassifier(early_stopping=True), "early_stopping"),
        (SGDClassifier(average=True), "average"),
        (SGDClassifier(class_weight="balanced"), "class_weight"),
        (SGDClassifier(loss="squared_error"), "loss"),
        (LogisticRegression(solver="liblinear"), "liblinear"),
        (LogisticRegression(class_weight="balanced"), "class_weight"),
        (LogisticRegression(class_weight={7: 1.0}), "class_weight names 7"),
        (MLPClassifier(solver="lbfgs"), "lbfgs"),
        (MLPClassifier(early_stopping=True), "early_stopping"),
        (SGDClassifier(alpha=-1), "alpha"),
        (MLPClassifier(0), "hidden_layer_sizes"),
        (KMeans(0), "n_clusters"),
        (Pipeline([("scale", "passthrough")]), "no step"),
    ],
    ids=str,
)
def test_a_parameter_is_refused_by_name(model: Any, said: str) -> None:
    assert said in refused(model).message


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (LogisticRegression(), {"lr": 0.1}, "lr"),
        (GaussianNB(), {"lr": 0.1}, "lr"),
        (SGDClassifier(), {"batch_size": 8}, "batch_size"),
        (SGDClassifier(), {"optimizer": "adam"}, "optimizer"),
        (GaussianNB(), {"batch_size": 8}, "batch_size"),
        (MLPClassifier(4), {"keep_optimizer": True}, "keep_optimizer"),
        (LogisticRegression(), {"local_steps": 4}, "local_steps"),
        (SGDClassifier(), {"loss": "hinge"}, "loss"),
        (SGDClassifier(), {"fusion": "sum"}, "statistics"),
        (SGDClassifier(), {"fusion": "bagging"}, "trees"),
        (GaussianNB(), {"fusion": "fedavg"}, "GaussianNB are statistics"),
        (GaussianNB(), {"fusion": "median"}, "GaussianNB are statistics"),
        (GaussianNB(), {"fusion": "cyclic"}, "GaussianNB are statistics"),
        (GaussianNB(), {"personal": "finetune"}, "personal"),
        (GaussianNB(), {"adversary": "sign_flip:1"}, "adversary"),
        (GaussianNB(), {"fraction": 0.5}, "fraction"),
        (SGDClassifier(), {"fusion": "fedprox"}, "mu"),
        (SGDClassifier(), {"fusion": "scaffold"}, "shift"),
        (SGDClassifier(), {"engine": "vectorized"}, "vectorized"),
    ],
    ids=str,
)
def test_an_option_that_means_nothing_is_refused_by_name(
    model: Any, options: dict[str, Any], said: str
) -> None:
    assert said in refused(model, **options).message


@pytest.mark.parametrize(
    ("model", "labels", "said"),
    [
        (LogisticRegression(), "numbers", "measurements"),
        (GaussianNB(), "numbers", "measurements"),
        (MLPRegressor(), "text", "names of classes"),
        (Ridge(), "text", "names of classes"),
        (SGDClassifier(), "one", "needs two classes"),
        (SGDRegressor(), "two columns", "predicts one number"),
        (LogisticRegression(), "two columns", "several numbers"),
    ],
    ids=str,
)
def test_labels_of_another_kind_are_refused(model: Any, labels: str, said: str) -> None:
    x, y = measurements()
    made = {
        "numbers": y,
        "text": np.array(["a", "b"])[np.arange(len(y)) % 2],
        "one": np.ones(len(y), int),
        "two columns": np.stack([y, y], axis=1),
    }[labels]
    assert said in refused(model, parties((x, made))).message


def test_counts_are_not_negative() -> None:
    assert "rows go down to" in refused(MultinomialNB(), parties(classes())).message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", [LogisticRegression(), SGDClassifier(), MLPClassifier(3)])
def test_a_fit_to_other_rows_is_refused(model: Any) -> None:
    x, y = classes()
    assert "fitted to 3 features" in refused(model.fit(x[:, :3], y)).message
    assert "classes 0, 1," in refused(model.fit(x, y % 2)).message + ","


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", [LogisticRegression(), SGDClassifier(), MLPClassifier(3)])
def test_a_fit_is_the_start_and_that_is_said(model: Any) -> None:
    x, y = classes()
    model.fit(x, y)
    run = trained(model, parties((x, y)), rounds=1)
    assert any("start: the weights" in note for note in run.notes)
    first = run.federation.network.initial_weights
    name = "coef" if "coef" in first else "coef.0"
    kept = model.coef_ if name == "coef" else model.coefs_[0]
    np.testing.assert_array_equal(first[name], kept)


@pytest.mark.parametrize("model", [GaussianNB(), LinearRegression()], ids=str)
def test_a_fit_from_sums_is_done_anew_and_that_is_said(model: Any) -> None:
    data = classes() if isinstance(model, GaussianNB) else measurements()
    run = trained(model.fit(data[0][:9], data[1][:9]), parties(data), rounds=1)
    assert any("fitted anew" in note for note in run.notes)


def test_too_many_clusters_are_refused() -> None:
    x = np.repeat(np.eye(3), 8, axis=0)
    data = {"a": ((x, np.zeros(24, int)),) * 2, "b": ((x, np.zeros(24, int)),) * 2}
    assert "n_clusters" in refused(KMeans(20), data).message


def test_rows_of_a_large_size_are_warned_of() -> None:
    run = trained(SGDClassifier(), parties(classes()), rounds=1)
    assert any("StandardScaler" in note for note in run.notes)
    run = trained(make_pipeline(StandardScaler(), SGDClassifier()), parties(classes()), rounds=1)
    assert not any("warning: rows" in note for note in run.notes)
