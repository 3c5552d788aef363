"""The rule about weights of classes, which all parties' label counts agree on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core.schema import LabelSchema
from fusion_nb.errors import OptionError, nearest, option
from fusion_nb.models.class_weights import (
    ClassWeighted,
    balanced,
    count_classes,
    count_flags,
    parse,
)
from fusion_nb.models.predicting import PredictsRows
from fusion_nb.runs.resolve import Resolved

#: Classes whose weights a note spells out.
_NAMED = 10


def check_class_weights(resolved: Resolved) -> Sequence[str]:
    """Check that rows can be weighed by their class, and let the model do so."""
    spec, model, labels = resolved.spec, resolved.model, resolved.data.schema.labels
    if not spec.class_weights:
        return ()
    given = parse(spec.class_weights)
    where = option("class_weights", spec.class_weights)
    if not isinstance(model, ClassWeighted):
        raise OptionError(
            f"{where}: a {model.kind} has no weights of classes that parties agree on",
            f"leave it out; an estimator's own class_weight, where {model.kind} has one, holds at "
            "each party",
        )
    if not labels.are_whole:
        raise OptionError(f"{where}: the labels are not classes", "leave it out")
    weights, names = _weights(resolved, labels, given)
    model.weigh_classes(weights)
    if weights.ndim > 1:
        return [f"class weights: balanced for each of {len(weights)} yes or no"]
    some = [f"{name} {weight:.3g}" for name, weight in zip(names, weights, strict=True)][:_NAMED]
    rest = ", ..." if len(names) > _NAMED else ""
    by = "as given" if given else "balanced over all parties' training rows"
    return [
        f"class weights: {', '.join(some)}{rest} ({by}); they hold in training, so that train_loss "
        "has them, and loss has not"
    ]


def _weights(
    resolved: Resolved, labels: LabelSchema, given: dict[str, float]
) -> tuple[np.ndarray, list[str]]:
    """Return the weights, and the names of the classes."""
    trained = [train for train, _ in resolved.data.labels.values() if len(train)]
    if labels.kind in ("flags", "mask") and len(labels.shape) == 1 and labels.shape[0] > 1:
        if given:
            raise OptionError(
                f"{option('class_weights')}: a row's labels are several yes or no",
                f"give {option('class_weights', 'balanced')}",
            )
        return balanced(count_flags(trained, labels.shape[0])), []
    scaled = [train / labels.scale if labels.scale != 1 else train for train in trained]
    num = _num_classes(resolved)
    names = [labels.classes[i] if i < len(labels.classes) else str(i) for i in range(num)]
    if not given:
        return balanced(count_classes(scaled, num, resolved.model.ignored_label)), names
    for name in given:
        if name not in names:
            raise OptionError(
                f"{option('class_weights', resolved.spec.class_weights)}: no class is called "
                f"{name!r}",
                f"{nearest(name, names)}there are: {', '.join(names[:20])}",
                option="class_weights",
                allowed=names,
            )
    return np.array([given.get(name, 1.0) for name in names]), names


def _num_classes(resolved: Resolved) -> int:
    """Return the number of classes that the model tells apart."""
    model, example = resolved.model, resolved.data.example
    if isinstance(model, PredictsRows) and model.task == "classes":
        return int(model.predict(rows_of.take(example, np.arange(1))).shape[model.class_axis])
    return max(2, int(resolved.data.schema.labels.scaled[1]) + 1)
