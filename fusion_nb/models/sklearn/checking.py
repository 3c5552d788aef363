"""Looks at an estimator's parameters and at the size of its rows, before any training."""

from __future__ import annotations

from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError
from fusion_nb.models.sklearn.learner import Learner
from fusion_nb.models.sklearn.lookup import Parts
from fusion_nb.models.tabular import Task

#: Numbers beyond this are worth a word about scalers.
_LARGE = 10.0


def check_parameters(learner: Learner, task: Task) -> None:
    """Raise ModelError for parameters that scikit-learn refuses."""
    try:
        learner.template(task)
    except (ValueError, TypeError) as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"scikit-learn refuses this {learner.name}: {line}", "correct its parameters"
        ) from None


def size_notes(parts: Parts, schema: DataSchema) -> list[str]:
    """Return a note where rows are of a size with which steps hardly learn."""
    low, high = schema.rows.low, schema.rows.high
    is_exact = parts.learner.weights_kind == "statistics"
    if is_exact or parts.scalers or low is None or high is None:
        return []
    low, high = low / schema.rows.scale, high / schema.rows.scale
    if max(-low, high) <= _LARGE:
        return []
    return [
        f"warning: rows run from {low:g} to {high:g}, and steps learn better from numbers of "
        f"about 1: make_pipeline(StandardScaler(), {parts.learner.name}(...)) scales them at all "
        "parties alike"
    ]
