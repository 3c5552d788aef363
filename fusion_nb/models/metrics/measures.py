"""The metrics that a run adds to those of its model, measured on a model's predictions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusion_nb.core import history, registry
from fusion_nb.core import rows as rows_of
from fusion_nb.core.counts import Counted, joined_parts
from fusion_nb.core.protocols.metric import Metric
from fusion_nb.core.types import Metrics
from fusion_nb.errors import DivergedError, OptionError, option
from fusion_nb.models.metrics.arranged import Arrangement
from fusion_nb.models.metrics.own import FunctionMetric
from fusion_nb.models.predicting import PredictsRows

#: An option that belongs to the metric before the comma: `top_k:k=3`.
_MORE_OPTIONS = re.compile(r"\s*\w+\s*=")
#: Kind of labels -> what a message calls a model that is trained on them.
_WORDS = {
    "classes": "predicts classes",
    "flags": "predicts several yes or no for each row",
    "numbers": "predicts numbers",
}


def parse(text: str) -> list[str]:
    """Return the metrics in text, each with its options.

    >>> parse("auc, f1:average=micro,top_k:k=3")
    ['auc', 'f1:average=micro', 'top_k:k=3']
    """
    found: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if found and _MORE_OPTIONS.match(part):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


def check_names(text: str) -> None:
    """Raise OptionError or NameNotFoundError for a metric that there is not."""
    for each in parse(text):
        if registry.parse(each)[0] in ("confusion", "confusion_matrix"):
            raise OptionError(
                f"{option('metrics', text)}: a confusion matrix is a table, and no number for each "
                "round",
                "leave it out: run.confusion() has it after any run",
            )
        registry.create("metrics", each)


class Measures:
    """The metrics that a run adds, for one model and one form of labels.

    texts: as the option `metrics` has them;  arrangement: how labels and predictions are brought
    into the form that metrics take
    known: names of the metrics that the model measures itself, which are not measured twice
    Raises OptionError for a metric that can't serve this form.
    """

    def __init__(
        self, texts: Sequence[str], arrangement: Arrangement, known: Sequence[str]
    ) -> None:
        self._arrangement = arrangement
        self._metrics: list[tuple[Metric, tuple[str, ...]]] = []
        self.notes: list[str] = []
        self._places: dict[str, tuple[Metric, int]] = {}
        for text in texts:
            self._add(text, {*known})
        history.declare_directions(
            {name: metric.higher_is_better for metric, names in self._metrics for name in names}
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all numbers, in order."""
        return tuple(self._places)

    def of(self, model: PredictsRows, data: Any) -> Metrics:
        """Return the numbers over the rows, each with its sums; NaN where the rows allow none.

        Raises DivergedError for predictions that are not finite.
        """
        predictions = np.asarray(model.predict(data))
        if not np.isfinite(predictions).all():
            raise DivergedError(
                "the model's predictions for test rows hold NaN or infinite numbers, of which "
                f"{', '.join(self.names)} can't be computed",
                f"use a smaller {option('lr')}, or look at the rows",
            )
        labels, scores = self._arrangement.of(rows_of.stored_labels(data), predictions)
        found: Metrics = {}
        task = self._arrangement.task
        for metric, names in self._metrics:
            sums = metric.sums(labels, scores, task)
            values = metric.values(sums, task) if len(labels) else [math.nan] * len(names)
            error = metric.error(sums, task)
            found |= {
                name: Counted(value, sums, error=error)
                for name, value in zip(names, values, strict=True)
            }
        return found

    def join(self, name: str, counted: Sequence[Counted]) -> Counted:
        """Return a number over the rows of several values, NaN where they allow none."""
        metric, place = self._places[name]
        task = self._arrangement.task
        sums = metric.join(*joined_parts(counted), task)
        return Counted(metric.values(sums, task)[place], sums, error=metric.error(sums, task))

    def without_value(self, labels: np.ndarray, predictions: np.ndarray) -> str:
        """Return the name of a metric without any value for these labels, or "".

        labels, predictions: in the form that metrics take. The user's own functions are not tried.
        """
        task = self._arrangement.task
        for metric, names in self._metrics:
            if isinstance(metric, FunctionMetric):
                continue
            values = metric.values(metric.sums(labels, predictions, task), task)
            if all(math.isnan(value) for value in values):
                return names[0]
        return ""

    def _add(self, text: str, known: set[str]) -> None:
        metric: Metric = registry.create("metrics", text)
        name, task = registry.parse(text)[0], self._arrangement.task
        given = option("metrics", text)
        if name == "loss" or name.startswith(history.OWNERS):
            raise OptionError(
                f"{given}: a metric can't be called {name}, which each round has of its own",
                f"give it another name, which is not loss and begins with none of "
                f"{', '.join(history.OWNERS)}",
            )
        if task.kind not in metric.kinds:
            kinds = " or ".join(_WORDS[kind].removeprefix("predicts ") for kind in metric.kinds)
            usual = {"classes": "auc,f1", "flags": "auc,f1", "numbers": "rmse,r2"}[task.kind]
            raise OptionError(
                f"{given} measures {kinds}, and the model {_WORDS[task.kind]}",
                f"leave it out, or use {usual}",
                option="metrics",
                value=text,
            )
        if problem := metric.problem(task):
            raise OptionError(f"{given}: {problem}", "leave it out", option="metrics", value=text)
        names = metric.names(name, task)
        if {*names} <= known or {*names} <= {*self._places}:
            return
        self._metrics.append((metric, names))
        self._places |= {each: (metric, place) for place, each in enumerate(names)}
        self.notes += metric.notes(name, task)
