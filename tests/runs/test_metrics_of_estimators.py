"""Metrics that a run adds to models whose parties agree on something before the first round."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

import fusion_nb

pytest.importorskip("sklearn")
from added_metrics import is_as_scikit_learn, one_class_parties, predictions, yes_or_no

TEXT = "auc,average_precision,f1,recall:average=binary,balanced_accuracy,log_loss,brier"
# Larger steps lead to probabilities that scikit-learn clips before it takes their logarithm.
SLOW = {"learning_rate": "constant", "eta0": 0.01}
CLASSIFIERS: list[tuple[str, str, dict[str, Any]]] = [
    ("sklearn.linear_model", "LogisticRegression", {}),
    ("sklearn.linear_model", "SGDClassifier", SLOW | {"loss": "log_loss"}),
    ("sklearn.naive_bayes", "GaussianNB", {}),
    ("sklearn.neural_network", "MLPClassifier", {"hidden_layer_sizes": (3,)}),
    ("xgboost", "XGBClassifier", {"max_depth": 2}),
    ("lightgbm", "LGBMClassifier", {"num_leaves": 4, "verbose": -1}),
]
REGRESSORS: list[tuple[str, str, dict[str, Any]]] = [
    ("sklearn.linear_model", "Ridge", {}),
    ("sklearn.linear_model", "SGDRegressor", {}),
    ("xgboost", "XGBRegressor", {"max_depth": 2}),
]


def made(module: str, name: str, options: dict[str, Any]) -> Any:
    pytest.importorskip(module.partition(".")[0])
    return getattr(importlib.import_module(module), name)(**options)


def curves(run: Any) -> list[list[float]]:
    return [run.history[name] for name in ("accuracy", "loss")]


@pytest.mark.parametrize("which", CLASSIFIERS, ids=[name for _, name, _ in CLASSIFIERS])
def test_classes(which: Any) -> None:
    data = one_class_parties()
    run = fusion_nb.federate(made(*which), data, rounds=2, metrics=TEXT)
    is_as_scikit_learn(run.history.last(), predictions(run))
    assert curves(run) == curves(fusion_nb.federate(made(*which), data, rounds=2))


@pytest.mark.parametrize("which", REGRESSORS, ids=[name for _, name, _ in REGRESSORS])
def test_numbers(which: Any) -> None:
    from sklearn import metrics as sk

    x, _ = yes_or_no()
    data = (x, 2 * x[:, 0] + x[:, 1])
    run = fusion_nb.federate(made(*which), data, parties=3, rounds=2, metrics="r2,rmse")
    frame, last = run.predictions(), run.history.last()
    assert last["r2"] == pytest.approx(sk.r2_score(frame["label"], frame["predicted"]), abs=1e-6)
    assert last["rmse"] == pytest.approx(
        sk.root_mean_squared_error(frame["label"], frame["predicted"]), abs=1e-6
    )


def test_scaled_by_all_parties() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression())
    run = fusion_nb.federate(model, one_class_parties(), rounds=2, metrics=TEXT)
    is_as_scikit_learn(run.history.last(), predictions(run))


def test_no_note_recommends_weights_that_the_model_does_not_have() -> None:
    from sklearn.naive_bayes import GaussianNB

    x, _ = yes_or_no()
    rare = (np.arange(len(x)) % 10 == 0).astype(np.int64)  # the rows say nothing about it
    run = fusion_nb.federate(GaussianNB(), (x, rare), parties=3, rounds=1)
    (note,) = [note for note in run.notes if "commonest class" in note]
    assert "class-weights" not in note
    with pytest.raises(fusion_nb.errors.FusionError, match="has no weights of classes"):
        fusion_nb.federate(GaussianNB(), (x, rare), parties=3, class_weights="balanced")


@pytest.mark.parametrize("numbers", [(-1, 1), (1, 2), (0, 3), (2, 5, 9)])
@pytest.mark.parametrize("which", [CLASSIFIERS[0], CLASSIFIERS[4]], ids=["sklearn", "xgboost"])
def test_classes_that_are_not_numbered_from_0(which: Any, numbers: tuple[int, ...]) -> None:
    from sklearn import metrics as sk

    x, _ = yes_or_no()
    y = np.array(numbers)[np.digitize(x[:, 0], [-0.3, 0.5][: len(numbers) - 1])]
    text = f"f1,auc,recall:of={numbers[-1]}"
    run = fusion_nb.federate(made(*which), (x, y), parties=3, rounds=3, metrics=text)
    frame, last = run.predictions(), run.history.last()
    right = frame["label"] == frame["predicted"]
    assert {*frame["label"]} == {*map(str, numbers)}
    assert right.mean() == pytest.approx(last["accuracy"])
    assert last["accuracy"] > 0.7
    labels, predicted = frame["label"], frame["predicted"]
    assert last["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    recall = sk.recall_score(labels, predicted, average=None, labels=[str(numbers[-1])])
    assert last[f"recall_{numbers[-1]}"] == pytest.approx(recall[0])
    assert np.trace(run.confusion().matrix) == right.sum()
    assert "no party has a training row" not in " ".join(run.notes)
