"""Metrics of the user's own: a function of labels and scores, or a class of sums."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import numpy as np

from fusion_nb.core import registry
from fusion_nb.core.contracts import check_form
from fusion_nb.core.protocols.metric import LabelsKind, Metric, MetricTask, Sums
from fusion_nb.errors import ContractError, OptionError

#: A function that returns a number from labels and scores.
Function = Callable[..., float]
#: Names of a second argument that stands for classes, where scores are given.
_OF_CLASSES = ("y_pred", "pred", "preds", "predicted", "y_hat", "yhat", "predicted_classes")


class FunctionMetric(Metric):
    """Applies a function to the labels and scores of all parties' test rows together.

    A function of rows has no sums, so the parties send labels and scores of their test rows.

    function: takes labels (rows,) and scores: of classes (rows, classes), of yes or no the
              probability of yes (rows,), of flags (rows, flags), of numbers (rows,) or more
    """

    kinds: ClassVar[tuple[LabelsKind, ...]] = ("classes", "flags", "numbers")

    def __init__(self, function: Function) -> None:
        self._function = function

    def sums(self, labels: np.ndarray, predictions: np.ndarray, task: MetricTask) -> Sums:
        """Return labels and predictions themselves."""
        return {"labels": labels, "predictions": predictions}

    def join(self, parts: Sequence[Sums], weights: Sequence[float], task: MetricTask) -> Sums:
        """Return all rows together; each counts once."""
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def values(self, sums: Sums, task: MetricTask) -> Sequence[float]:
        """Return the function's number; NaN where it raises ValueError, as for rows of one class.

        Raises ContractError for another value than a number, and for a function that takes classes
        where scores are given: it might return a number all the same, and a wrong one.
        """
        labels, scores = sums["labels"], sums["predictions"]
        self._check_second(task)
        if task.is_yes_no:
            scores = scores[:, 1]
        elif task.kind == "numbers" and task.num == 1:
            labels, scores = labels[:, 0], scores[:, 0]
        try:
            found = self._function(labels, scores)
        except ValueError as error:
            if len(np.unique(labels)) < 2:
                return [math.nan]
            error.add_note(
                f"the metric {_name_of(self._function)} was given labels of shape {labels.shape} "
                f"and scores of shape {np.shape(scores)}"
            )
            raise
        try:
            return [float(found)]
        except (TypeError, ValueError):
            raise ContractError(
                f"the metric {_name_of(self._function)} returned {type(found).__name__}, not a "
                "number",
                "return one number of (labels, scores)",
            ) from None

    def _check_second(self, task: MetricTask) -> None:
        """Raise ContractError for a second argument whose name is that of predicted classes."""
        name, second = _name_of(self._function), _positional(self._function)[1]
        if task.kind == "numbers" or second not in _OF_CLASSES:
            return
        several = task.kind == "classes" and not task.is_yes_no
        classes = "scores.argmax(1)" if several else "scores > 0.5"
        raise ContractError(
            f"the metric {name} takes {second!r}, and is given scores: "
            f"{'of each class' if several else 'the probability of yes'}",
            f"call it from a function of yours: def my_{name}(labels, scores): return "
            f"{name}(labels, {classes}), or with scores themselves if it takes probabilities",
        )

    def notes(self, name: str, task: MetricTask) -> list[str]:
        """Return what parties send."""
        return [
            f"metric {name}: a function of all rows together, so each party sends labels and "
            "scores of its test rows for it; a class derived from Metric sends sums"
        ]


def promote(implementation: Any, *, higher_is_better: bool = True) -> Callable[..., Metric]:
    """Return a maker of metrics from a function (labels, scores), or from a class.

    Keyword-only parameters of the function become options. Raises OptionError for another form.
    """
    if inspect.isclass(implementation):
        check_form("metrics", implementation, "metric")
        return cast(Callable[..., Metric], implementation)
    if not callable(implementation) or isinstance(implementation, Metric):
        raise OptionError(
            f"{type(implementation).__name__} is given as an object, and a metric is registered as "
            "a function or a class",
            "write @fusion_nb.metric above a function of (labels, scores)",
        )
    parameters = inspect.signature(implementation, eval_str=True).parameters.values()
    positional = _positional(implementation)
    name = _name_of(implementation)
    if len(positional) != 2:
        raise OptionError(
            f"the function {name}({', '.join(positional)}) can't be a metric",
            "write it as (labels, scores), options after a *, and return a number",
        )
    kind = FunctionMetric if higher_is_better else _Lower

    @functools.wraps(implementation)
    def make(**options: Any) -> Metric:
        return kind(functools.partial(implementation, **options))

    # The registry reads the options from here.
    make.__signature__ = inspect.Signature([p for p in parameters if p.kind is p.KEYWORD_ONLY])  # type: ignore[attr-defined]
    return make


class _Lower(FunctionMetric):
    """Applies a function whose lower numbers are better."""

    higher_is_better = False


def metric(
    implementation: Any = None, *, name: str | None = None, higher_is_better: bool = True
) -> Any:
    """Register a metric under its own name, or `name`, for the option `metrics`.

    implementation: a function of (labels, scores) that returns a number, or a class derived from
                    `Metric`, which has its own `higher_is_better`

    >>> @metric(higher_is_better=False)
    ... def missed(labels, scores, *, limit: float = 0.5):
    ...     return float(((labels == 1) & (scores < limit)).mean())
    >>> registry.create("metrics", "missed:limit=0.3").higher_is_better
    False
    """
    if implementation is None or isinstance(implementation, str):
        return functools.partial(
            metric, name=name or implementation, higher_is_better=higher_is_better
        )
    made = promote(implementation, higher_is_better=higher_is_better)
    registry.register("metrics", name or _name_of(implementation), made)
    return implementation


def _positional(function: Any) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]


def _name_of(function: Any) -> str:
    inner = function.func if isinstance(function, functools.partial) else function
    return str(getattr(inner, "__name__", type(inner).__name__))
