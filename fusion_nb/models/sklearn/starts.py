"""The start of a run: whether a model that the user fitted gives the first weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusion_nb.core.types import Weights
from fusion_nb.errors import ModelError
from fusion_nb.models.sklearn.lookup import Parts
from fusion_nb.models.tabular import Task

_ANEW = "give one without a fit: sklearn.base.clone(model)"


def last_of(model: Any) -> Any:
    """Return the last step of a pipeline, or the estimator itself."""
    steps = getattr(model, "steps", None)
    return steps[-1][1] if steps else model


def is_fitted(model: Any) -> bool:
    """Return whether the estimator of a model was fitted."""
    return any(name.endswith("_") and not name.startswith("_") for name in vars(last_of(model)))


def start_of(model: Any, parts: Parts, task: Task) -> tuple[Weights | None, list[str]]:
    """Return the first weights that the user's fit gives, or None, and a note about it.

    Raises ModelError for a fit to other features or classes.
    """
    if not is_fitted(model):
        return None, []
    name, fitted = parts.learner.name, last_of(model)
    weights = parts.learner.as_weights(fitted)
    if weights is None:
        return None, [f"start: the {name} is fitted anew, and its earlier fit is not used"]
    count = getattr(fitted, "n_features_in_", task.num_features)
    if count != task.num_features:
        raise ModelError(
            f"the {name} was fitted to {count} features, and rows have {task.num_features}", _ANEW
        )
    classes = getattr(fitted, "classes_", ())
    if task.predicts_classes and not np.array_equal(classes, task.names):
        raise ModelError(
            f"the {name} was fitted to the classes {_some(classes)}, and those of all parties are "
            f"{_some(task.names)}",
            _ANEW,
        )
    return weights, [f"start: the weights of the {name}'s own fit"]


def task_of_fitted(model: Any, parts: Parts) -> Task:
    """Return the task of a fitted model, by its attributes."""
    fitted = last_of(model)
    none = np.empty(0, np.int64)
    columns = tuple(getattr(model, "feature_names_in_", ()))
    count = int(getattr(fitted, "n_features_in_", 0))
    if not parts.learner.wants_classes:
        coef = np.asarray(getattr(fitted, "coef_", none))
        num_outputs = int(getattr(fitted, "n_outputs_", 1))
        shape = (len(coef),) if coef.ndim == 2 else (num_outputs,) if num_outputs > 1 else ()
        return Task(count, none, none, shape, columns)
    names = np.asarray(fitted.classes_)
    classes = names if names.dtype.kind in "iu" else np.arange(len(names))
    return Task(count, classes, names, (), columns)


def _some(classes: Any) -> str:
    names = [str(name) for name in np.asarray(classes).tolist()]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
