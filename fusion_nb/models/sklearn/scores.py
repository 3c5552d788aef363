"""Predictions of fitted estimators, their losses, and their metrics: means over rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusion_nb.core.types import Metrics
from fusion_nb.errors import ModelError
from fusion_nb.models.combining import LEAST, TINY, both, sigmoid, softmax
from fusion_nb.models.tabular import Task

#: Losses of classifiers by margins, beside the log loss of those with probabilities.
_MARGIN_LOSSES = {
    "hinge": lambda margin: np.maximum(0, 1 - margin),
    "squared_hinge": lambda margin: np.maximum(0, 1 - margin) ** 2,
    "perceptron": lambda margin: np.maximum(0, -margin),
}
_PROBABLE = ("log_loss", "modified_huber")
_ERROR_LOSSES = ("squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive")
#: Losses that are the mean squared error.
_SQUARED = ("squared_error", "")


def loss_name(estimator: Any) -> str:
    """Return the name of an estimator's loss, "" where it has no parameter of that name."""
    name = type(estimator).__name__
    if name == "Perceptron":
        return "perceptron"
    return str(estimator.get_params(deep=False).get("loss", ""))


def check_loss(estimator: Any, *, is_classifier: bool) -> None:
    """Raise ModelError for a loss that no metric here is equal to."""
    name = loss_name(estimator)
    known = (*_PROBABLE, *_MARGIN_LOSSES) if is_classifier else _ERROR_LOSSES
    if name not in known:
        raise ModelError(
            f"{type(estimator).__name__}(loss={name!r}) is not trained by parties",
            f"use one of: {', '.join(known)}",
        )


def metric_names(estimator: Any, task: Task) -> tuple[str, ...]:
    """Return the metrics of an estimator, the monitored one first."""
    if task.predicts_classes:
        return ("accuracy", "loss")
    if not hasattr(estimator, "predict") or hasattr(estimator, "n_clusters"):
        return ("loss",)
    is_squared = loss_name(estimator) in _SQUARED
    return ("loss", "mae") if is_squared else ("loss", "mse", "mae")


def loss_note(estimator: Any, task: Task) -> str:
    """Return how the loss is measured, as a sentence."""
    name = loss_name(estimator)
    if hasattr(estimator, "n_clusters"):
        return "loss: mean squared distance of a row to its nearest centre"
    if not hasattr(estimator, "predict"):
        return "loss: mean square of the scaled numbers"
    if not task.predicts_classes:
        return f"loss: {'mean squared error' if name in _SQUARED else name}"
    if name in _MARGIN_LOSSES:
        each = ", of each class against the others" if len(task.classes) > 2 else ""
        return f"loss: {name}{each}"
    return "loss: log loss"


def predictions(fitted: Any, x: np.ndarray, task: Task) -> np.ndarray:
    """Return probabilities (rows, classes), or numbers.

    An estimator without probabilities has scores, of which they are the sigmoid (two classes) or
    the softmax (more): their order is that of the scores.
    """
    if not task.predicts_classes:
        return np.asarray(fitted.predict(x))
    if hasattr(fitted, "predict_proba"):
        return np.asarray(fitted.predict_proba(x))
    return _as_probabilities(np.asarray(fitted.decision_function(x)))


def evaluate(fitted: Any, x: np.ndarray, y: np.ndarray, task: Task) -> Metrics:
    """Return the metrics of a fitted estimator over rows."""
    if hasattr(fitted, "n_clusters"):
        return {"loss": float(np.mean(fitted.transform(x).min(1) ** 2))}
    if not hasattr(fitted, "predict"):
        return {"loss": float(np.mean(np.asarray(fitted.transform(x)) ** 2))}
    if task.predicts_classes and loss_name(fitted) in _MARGIN_LOSSES:
        found = np.asarray(fitted.decision_function(x))
        return {
            "accuracy": _accuracy(_as_probabilities(found), y, task),
            "loss": _margin_loss(fitted, found, y, task),
        }
    return of_predictions(fitted, predictions(fitted, x, task), y, task)


def of_predictions(estimator: Any, found: np.ndarray, y: np.ndarray, task: Task) -> Metrics:
    """Return the metrics of predictions of an estimator's kind."""
    if not task.predicts_classes:
        return _of_numbers(estimator, found, y)
    metrics = {"accuracy": _accuracy(found, y, task)}
    if loss_name(estimator) in _MARGIN_LOSSES:
        logs = np.log(np.clip(found, TINY, 1 - TINY))
        scores = logs[:, 1] - logs[:, 0] if found.shape[1] == 2 else logs
        return metrics | {"loss": _margin_loss(estimator, scores, y, task)}
    own = found[np.arange(len(y)), task.positions(y)]
    return metrics | {"loss": float(-np.log(np.maximum(own, LEAST)).mean())}


def _accuracy(found: np.ndarray, y: np.ndarray, task: Task) -> float:
    return float((task.classes[found.argmax(1)] == y).mean())


def _margin_loss(estimator: Any, found: np.ndarray, y: np.ndarray, task: Task) -> float:
    signs = 2 * task.one_hot(y) - 1
    margins = found[:, None] * signs[:, 1:] if found.ndim == 1 else found * signs
    return float(_MARGIN_LOSSES[loss_name(estimator)](margins).mean())


def _of_numbers(estimator: Any, found: np.ndarray, y: np.ndarray) -> Metrics:
    errors = np.asarray(found, np.float64).reshape(len(y), -1) - y.reshape(len(y), -1)
    squared, absolute = float((errors**2).mean()), float(np.abs(errors).mean())
    name = loss_name(estimator)
    if name in _SQUARED:
        return {"loss": squared, "mae": absolute}
    epsilon, sizes = estimator.epsilon, np.abs(errors)
    losses = {
        "huber": np.where(sizes <= epsilon, errors**2 / 2, epsilon * (sizes - epsilon / 2)),
        "epsilon_insensitive": np.maximum(0, sizes - epsilon),
        "squared_epsilon_insensitive": np.maximum(0, sizes - epsilon) ** 2,
    }
    return {"loss": float(losses[name].mean()), "mse": squared, "mae": absolute}


def _as_probabilities(found: np.ndarray) -> np.ndarray:
    return both(sigmoid(found)) if found.ndim == 1 else softmax(found)
