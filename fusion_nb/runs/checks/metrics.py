"""The rules about metrics that a run adds to those of its model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core.protocols import NeedsAgreement
from fusion_nb.core.types import Update
from fusion_nb.errors import OptionError, option
from fusion_nb.models.base import Model
from fusion_nb.models.metrics.arranged import Arrangement
from fusion_nb.models.metrics.measures import Measures, parse
from fusion_nb.models.predicting import PredictsRows
from fusion_nb.runs.resolve import Resolved

#: Training rows on which metrics are tried before a run.
_TRIED = 64


def check_added_metrics(resolved: Resolved) -> Sequence[str]:
    """Check that the metrics that are added can be measured, and let the model measure them."""
    spec, model = resolved.spec, resolved.model
    if not spec.metrics:
        return ()
    given = option("metrics", spec.metrics)
    if not isinstance(model, PredictsRows):
        raise OptionError(
            f"{given}: a {model.kind} predicts nothing for a row that could be measured",
            f"leave it out; it has: {', '.join(model.metrics)}",
        )
    if model.task == "own":
        raise OptionError(
            f"{given}: the model has several outputs, or outputs whose meaning its loss alone "
            "knows",
            f"name a loss of the framework for one output with {option('loss')}",
        )
    data = resolved.data
    few = rows_of.take(data.example, np.arange(min(_TRIED, rows_of.size(data.example))))
    trial = _ready(model, few)
    arrangement = Arrangement.find(
        model.task,
        data.schema.labels,
        np.asarray(trial.predict(few)),
        model.class_axis,
        model.ignored_label,
    )
    measures = Measures(parse(spec.metrics), arrangement, model.metrics)
    measures.of(trial, few)  # a function of the user's own may be wrong
    _check_test_labels(resolved, measures, arrangement)
    model.measures = measures
    model.metrics = (*model.metrics, *measures.names)
    return measures.notes


def _ready(model: Model, few: Any) -> PredictsRows:
    """Return a model that can predict: a copy that agreed on these rows alone, where it has to."""
    trial = model
    if isinstance(model, NeedsAgreement):
        trial = model.clone()
        assert isinstance(trial, NeedsAgreement)
        report = Update("", {}, rows_of.size(few), extras=dict(trial.collect(few)))
        trial.prepare(few, {}, trial.agree([report]))
    assert isinstance(trial, PredictsRows)
    return trial


def _check_test_labels(resolved: Resolved, measures: Measures, arrangement: Arrangement) -> None:
    """Check that the test rows together allow a value, as an AUC needs rows of two classes."""
    data, task = resolved.data, arrangement.task
    own = [test for _, test in data.labels.values() if len(test)]
    tests = own if resolved.test is None else [data.test_labels]
    if task.kind == "flags" or not any(map(len, tests)):
        return
    present = np.unique(np.concatenate([test.reshape(-1) for test in tests if len(test)]))
    if task.kind == "numbers":
        labels = np.tile(present[[0, -1]].astype(np.float64)[:, None], (1, task.num))
        predictions = labels + 1.0
    else:
        counted = present[present != arrangement.ignored] / data.schema.labels.scale
        labels = arrangement.positions(counted.astype(np.int64))
        predictions = np.full((len(labels), task.num), 1 / task.num)
    if lacking := measures.without_value(labels, predictions):
        same = f"{present[0]:g}"
        if task.kind == "classes" and int(labels[0]) < len(task.names):
            same = f"class {task.names[int(labels[0])]}"
        raise OptionError(
            f"{option('metrics', lacking)} has no value: all test rows are {same}",
            f"leave it out, hold back more rows with {option('holdout', 0.2)}, or give a test set",
            option="metrics",
            value=resolved.spec.metrics,
        )
