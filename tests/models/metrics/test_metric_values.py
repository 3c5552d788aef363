"""Every metric beside scikit-learn's on the union of the rows: exact, or within its bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusion_nb.core import registry
from fusion_nb.core.protocols import Metric, MetricTask, Sums

sk = pytest.importorskip("sklearn.metrics")

Data = tuple[np.ndarray, np.ndarray]


def one_hot(labels: np.ndarray, num: int) -> np.ndarray:
    return np.eye(num)[labels]


def classes(num: int, count: int, seed: int, *, sharp: float = 1.0, ties: bool = False) -> Data:
    rng = np.random.default_rng(seed)
    labels = rng.integers(num, size=count)
    logits = rng.normal(size=(count, num)) * sharp + one_hot(labels, num)
    if ties:
        logits = np.round(logits)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return labels, powers / powers.sum(1, keepdims=True)


def flags(num: int, count: int, seed: int) -> Data:
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, num)) < 0.3).astype(int)
    return labels, np.clip(labels * 0.2 + rng.random((count, num)) * 0.8, 0, 1)


def numbers(num: int, count: int, seed: int, *, shift: float = 0.0, scale: float = 1.0) -> Data:
    rng = np.random.default_rng(seed)
    labels = shift + scale * rng.normal(size=(count, num))
    return labels, labels + scale * rng.normal(size=(count, num))


#: Labels and probabilities of classes, the random ones first and then hard ones.
CLASSES: dict[str, Data] = {
    "two": classes(2, 200, 0),
    "five": classes(5, 300, 1),
    "ties": classes(3, 300, 2, ties=True),
    "two with ties": classes(2, 300, 3, ties=True),
    "constant scores": (np.arange(60) % 3, np.full((60, 3), 1 / 3)),
    "all in one predicted class": (np.arange(80) % 2, np.tile([0.9, 0.1], (80, 1))),
    "near 0 and 1": classes(2, 400, 4, sharp=8.0),
    "one rare": (np.r_[np.zeros(499, int), 1], classes(2, 500, 5)[1]),
    "perfect": (np.arange(40) % 4, one_hot(np.arange(40) % 4, 4)),
    "all wrong": (np.arange(40) % 2, one_hot((np.arange(40) + 1) % 2, 2)),
}
FLAGS: dict[str, Data] = {"three": flags(3, 200, 0), "seven": flags(7, 90, 1)}
NUMBERS: dict[str, Data] = {
    "one": numbers(1, 200, 0),
    "three": numbers(3, 200, 1),
    "far from zero": numbers(1, 200, 2, shift=1e6),
    "tiny": numbers(2, 200, 3, scale=1e-6),
}


def top(labels: np.ndarray, scores: np.ndarray, k: int) -> float:
    highest = np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :k]
    return float((highest == labels[:, None]).any(1).mean())


def log_loss(y: np.ndarray, p: np.ndarray) -> float:
    eps = np.finfo(np.float32).eps
    return float(-np.log(np.clip(p[np.arange(len(y)), y], eps, 1)).mean())


def averaged(score: Callable[..., float], average: str) -> Callable[[np.ndarray, np.ndarray], Any]:
    def measure(y: np.ndarray, p: np.ndarray) -> Any:
        predicted = p.argmax(1) if y.ndim == 1 else (p > 0.5).astype(int)
        return score(y, predicted, average=average, zero_division=0)

    return measure


SCORES = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
#: Text of a metric -> scikit-learn's function of labels and probabilities.
OF_CLASSES: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "accuracy": lambda y, p: sk.accuracy_score(y, p.argmax(1)),
    "balanced_accuracy": lambda y, p: sk.balanced_accuracy_score(y, p.argmax(1)),
    "brier": lambda y, p: sk.brier_score_loss(
        y, p if p.shape[1] > 2 else p[:, 1], labels=range(p.shape[1])
    ),
    "log_loss": log_loss,
    "perplexity": lambda y, p: math.exp(log_loss(y, p)),
    "top_k:k=1": lambda y, p: top(y, p, 1),
    **{
        f"{name}:average={average}": averaged(score, average)
        for name, score in SCORES.items()
        for average in ("macro", "micro", "weighted")
    },
}
OF_FLAGS = {
    "accuracy": lambda y, p: sk.accuracy_score(y.ravel(), (p > 0.5).ravel()),
    **{name: check for name, check in OF_CLASSES.items() if ":average" in name},
}
OF_NUMBERS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "mae": sk.mean_absolute_error,
    "mse": sk.mean_squared_error,
    "rmse": sk.root_mean_squared_error,
    "r2": sk.r2_score,
}


def task_of(kind: Any, data: Data) -> MetricTask:
    labels, predictions = data
    shift = float(labels.min() + labels.max()) / 2 if kind == "numbers" else 0.0
    return MetricTask(kind, predictions.shape[1], shift=shift)


def of_parties(text: str, data: Data, task: MetricTask) -> tuple[list[float], float]:
    """The numbers and the bound that parties of 1, 2, 3 and all other rows make together."""
    metric: Metric = registry.create("metrics", text)
    parts: list[Sums] = []
    for labels, predictions in zip(*(np.split(a, [1, 3, 6]) for a in data), strict=True):
        sums = metric.sums(labels, predictions, task)
        metric.values(sums, task)  # a party of one class is no problem
        parts.append(sums)
    joined = metric.join(parts, [1] * len(parts), task)
    return [*metric.values(joined, task)], metric.error(joined, task)


@pytest.mark.parametrize("text", OF_CLASSES)
@pytest.mark.parametrize("name", CLASSES)
def test_classes_as_scikit_learn_on_all_rows(name: str, text: str) -> None:
    data = CLASSES[name]
    (found,), bound = of_parties(text, data, task_of("classes", data))
    assert bound == 0
    assert found == pytest.approx(OF_CLASSES[text](*data), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", ["five", "perfect"])
def test_the_most_probable_as_scikit_learn_has_them(name: str, k: int) -> None:
    labels, scores = data = CLASSES[name]
    (found,), _ = of_parties(f"top_k:k={k}", data, task_of("classes", data))
    assert found == sk.top_k_accuracy_score(labels, scores, k=k)


@pytest.mark.parametrize("text", OF_FLAGS)
@pytest.mark.parametrize("name", FLAGS)
def test_flags_as_scikit_learn_on_all_rows(name: str, text: str) -> None:
    data = FLAGS[name]
    (found,), _ = of_parties(text, data, task_of("flags", data))
    assert found == pytest.approx(OF_FLAGS[text](*data), rel=1e-12)


@pytest.mark.parametrize("text", OF_NUMBERS)
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_as_scikit_learn_on_all_rows(name: str, text: str) -> None:
    data = NUMBERS[name]
    (found,), _ = of_parties(text, data, task_of("numbers", data))
    assert found == pytest.approx(OF_NUMBERS[text](*data), rel=1e-9)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("metric", ["auc", "average_precision"])
def test_rankings_of_classes_within_their_bound(name: str, metric: str) -> None:
    labels, scores = data = CLASSES[name]
    score = sk.roc_auc_score if metric == "auc" else sk.average_precision_score
    expected = (
        score(labels, scores[:, 1])
        if scores.shape[1] == 2
        else np.mean([score(labels == c, scores[:, c]) for c in range(scores.shape[1])])
    )
    (found,), bound = of_parties(metric, data, task_of("classes", data))
    assert abs(found - expected) <= bound + 1e-12
    # Equal scores share a bin, and the bound does not know that they are equal.
    is_tied = name in ("constant scores", "all in one predicted class", "ties", "two with ties")
    assert bound < 1e-3 or is_tied


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("metric", ["auc", "average_precision"])
def test_rankings_of_flags_within_their_bound(name: str, metric: str) -> None:
    score = sk.roc_auc_score if metric == "auc" else sk.average_precision_score
    data = FLAGS[name]
    (found,), bound = of_parties(metric, data, task_of("flags", data))
    assert abs(found - score(*data, average="macro")) <= bound + 1e-12 < 1e-3


@pytest.mark.parametrize("metric", ["auc", "average_precision"])
def test_the_bound_holds_where_many_scores_share_a_bin(metric: str) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(2000) < 0.1).astype(int)
    score = 0.5 + (labels + rng.normal(size=2000)) * 1e-6  # all in two bins
    data = labels, np.stack([1 - score, score], 1)
    exact = {"auc": sk.roc_auc_score, "average_precision": sk.average_precision_score}[metric]
    (found,), bound = of_parties(metric, data, task_of("classes", data))
    assert 0.01 < abs(found - exact(labels, score)) <= bound


def test_a_class_that_no_row_has_is_left_out() -> None:
    labels, scores = np.array([0, 1, 0, 1]), classes(3, 4, 0)[1]
    data = labels, scores
    for text in ("auc", "balanced_accuracy", "f1"):
        (found,), _ = of_parties(text, data, task_of("classes", data))
        assert math.isfinite(found)
    values, _ = of_parties("recall:average=none", data, task_of("classes", data))
    assert math.isnan(values[2])
    assert not math.isnan(values[0])


@pytest.mark.parametrize("text", ["auc", "average_precision"])
def test_rows_of_one_class_have_no_value(text: str) -> None:
    data = np.zeros(5, int), classes(2, 5, 0)[1]
    (found,), _ = of_parties(text, data, task_of("classes", data))
    assert math.isnan(found)


def test_the_same_label_in_all_rows_has_no_r2() -> None:
    data = np.full((6, 1), 3.7), np.arange(6.0)[:, None]
    (found,), _ = of_parties("r2", data, MetricTask("numbers", 1, shift=1.0))
    assert math.isnan(found)


@pytest.mark.parametrize("text", ["auc", "f1", "log_loss", "rmse"])
def test_a_row_that_stands_for_two_counts_twice(text: str) -> None:
    kind = "numbers" if text == "rmse" else "classes"
    labels, scores = numbers(1, 40, 0) if kind == "numbers" else classes(2, 40, 0)
    metric, task = registry.create("metrics", text), task_of(kind, (labels, scores))
    first, second = (metric.sums(labels[i::2], scores[i::2], task) for i in (0, 1))
    found = metric.values(metric.join([first, second], [2, 1], task), task)
    again = metric.values(metric.join([first, first, second], [1, 1, 1], task), task)
    assert found == pytest.approx(again)
