"""The rules about metrics that a run adds to those of its model, and about weights of classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.errors import OptionError, option
from fusion_nb.models.metrics.arranged import Arrangement
from fusion_nb.models.metrics.measures import Measures, parse
from fusion_nb.models.predicting import PredictsRows
from fusion_nb.runs.resolve import Resolved


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
            f"{given}: the meaning of the model's outputs is known to your loss alone",
            f"name a loss of the framework with {option('loss')}",
        )
    # A few rows show the form of predictions.
    predicted = np.asarray(model.predict(rows_of.take(resolved.data.example, np.arange(1))))
    arrangement = Arrangement.find(
        model.task,
        resolved.data.schema.labels,
        predicted,
        model.class_axis,
        model.ignored_label,
    )
    measures = Measures(parse(spec.metrics), arrangement, model.metrics)
    model.measures = measures
    model.metrics = (*model.metrics, *measures.names)
    return measures.notes
