"""Predictions for the test rows of a run's parties, in the process that holds the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_nb.core import registry
from fusion_nb.core import rows as rows_of
from fusion_nb.core.protocols import Metric, MetricTask
from fusion_nb.errors import NameNotFoundError, RunError, nearest, option
from fusion_nb.models.metrics.arranged import Arrangement
from fusion_nb.models.metrics.classes import chosen
from fusion_nb.models.predicting import PredictsRows
from fusion_nb.reporting.confusion import Confusion
from fusion_nb.reporting.report import Report, Row, Scores
from fusion_nb.runs.resolve import Resolved
from fusion_nb.runs.rounds import RoundSource

if TYPE_CHECKING:
    import pandas as pd

#: The test set that belongs to no party, in tables.
CENTRAL = "central test set"
#: What a report says of each party, by the kind of labels.
_OF_PARTIES = {
    "classes": ("accuracy", "balanced_accuracy", "f1", "auc"),
    "flags": ("accuracy", "f1", "auc"),
    "numbers": ("mae", "rmse", "r2"),
}
_AVERAGES = ("macro", "weighted")


@dataclass(frozen=True)
class Predicted:
    """The predictions for the test rows of one party, in the form that metrics take.

    rows: the position of each among the party's test rows
    """

    party: str
    rows: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


class Predictions:
    """Predicts the test rows of a run's parties.

    resolved: the run's data and model;  source: its weights;  name: of the run, in messages
    """

    def __init__(self, resolved: Resolved, source: RoundSource, name: str) -> None:
        self._resolved, self._source, self._name = resolved, source, name

    def frame(self, party: str | None, *, is_personal: bool) -> pd.DataFrame:
        """Return a DataFrame with one row for each test row; see `Run.predictions`."""
        import pandas as pd

        task, found = self.of(party, is_personal=is_personal)
        return pd.concat([_frame(part, task) for part in found], ignore_index=True)

    def confusion(self, party: str | None, *, is_personal: bool) -> Confusion:
        """Return the confusion matrix. Raises RunError for labels that are not classes."""
        task, found = self.of(party, is_personal=is_personal)
        if task.kind != "classes":
            several = "several yes or no" if task.kind == "flags" else "numbers"
            raise RunError(
                f"a confusion matrix needs one class for each row, and the labels are {several}",
                f"{self._name}.report() has their scores",
            )
        matrix = np.zeros((task.num, task.num), np.int64)
        for part in found:
            np.add.at(matrix, (part.labels, chosen(part.scores, task)), 1)
        return Confusion(matrix, task.names, _title(found, party))

    def report(self, *, is_personal: bool) -> Report:
        """Return the scores of each class and of each party."""
        task, found = self.of(None, is_personal=is_personal)
        classes = _of_classes(task, found) if task.kind != "numbers" else []
        parties = [(part.party, _of_party(task, part)) for part in found]
        if len(found) > 1:
            together = Predicted(
                "all parties",
                np.concatenate([part.rows for part in found]),
                np.concatenate([part.labels for part in found]),
                np.concatenate([part.scores for part in found]),
            )
            parties.append((together.party, _of_party(task, together)))
        return Report(Scores("class", classes), Scores("party", parties))

    def of(self, party: str | None, *, is_personal: bool) -> tuple[MetricTask, list[Predicted]]:
        """Return the form of the labels, and the predictions for one party's test rows, or for all.

        Raises RunError for a model that predicts nothing for a row, or without test rows.
        """
        if not self._source.history:
            raise RunError(
                f"{self._name} has no whole round yet", f"{self._name}.more() trains some"
            )
        model = self._source.model.clone()
        if not isinstance(model, PredictsRows):
            raise RunError(
                f"a {model.kind} predicts nothing for a row", f"see {self._name}.model itself"
            )
        if model.task == "own":
            raise RunError(
                "the model has several outputs, or outputs whose meaning its loss alone knows",
                f"call {self._name}.model itself",
            )
        arrangement: Arrangement | None = None
        found = []
        for owner, rows in self._tests(party, is_personal=is_personal):
            model.set_weights(self._source.test_weights(owner, is_personal=is_personal))
            predicted = np.asarray(model.predict(rows))
            stored = rows_of.stored_labels(rows)
            if arrangement is None:
                arrangement = Arrangement.find(
                    model.task,
                    self._resolved.data.schema.labels,
                    predicted,
                    model.class_axis,
                    model.ignored_label,
                )
            labels, scores = arrangement.of(stored, predicted)
            found.append(Predicted(owner, arrangement.rows(stored), labels, scores))
        assert arrangement is not None
        return arrangement.task, found

    def _tests(self, party: str | None, *, is_personal: bool) -> list[tuple[str, Any]]:
        """Return the test sets with their owners: those that the model is measured on, by default.

        Raises NameNotFoundError for a party that there is not, RunError for one without test rows.
        """
        parties = {each.id: each for each in self._resolved.data.parties}
        if party is None:
            if self._resolved.test is not None and not is_personal:
                return [(CENTRAL, self._resolved.test)]
            return [(each.id, each.test) for each in parties.values() if each.num_test]
        if party not in parties:
            raise NameNotFoundError(
                f"no party is called {party!r}",
                f"{nearest(party, parties)}there are: {', '.join(parties)}",
            )
        if not parties[party].num_test:
            raise RunError(
                f"{party} has no test rows of its own",
                f"hold some back with {option('holdout', 0.2)}",
            )
        return [(party, parties[party].test)]


def _title(found: Sequence[Predicted], party: str | None) -> str:
    if party is not None or len(found) == 1:
        return found[0].party
    return f"{len(found)} parties"


def _frame(part: Predicted, task: MetricTask) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {"party": part.party, "row": part.rows}
    if task.kind == "classes":
        names = np.array(task.names, dtype=object)
        columns |= {"label": names[part.labels], "predicted": names[chosen(part.scores, task)]}
    else:
        found = chosen(part.scores, task) if task.kind == "flags" else part.scores
        for name, values in (("label", part.labels), ("predicted", found)):
            one = task.num == 1
            columns |= {name if one else f"{name}_{i}": values[:, i] for i in range(task.num)}
    if task.kind != "numbers":
        for i, name in enumerate(task.names):
            taken = name in columns or (task.kind == "flags")
            columns[f"score_{name}" if taken else name] = part.scores[:, i]
    return pd.DataFrame(columns)


def _of_classes(task: MetricTask, found: Sequence[Predicted]) -> list[Row]:
    """Return precision, recall, f1 and support of each class, and their averages."""
    counts: dict[str, np.ndarray] = {}
    columns: dict[str, Sequence[float]] = {}
    averages: dict[str, dict[str, float]] = {average: {} for average in _AVERAGES}
    for name in ("precision", "recall", "f1"):
        each: Metric = registry.create("metrics", f"{name}:average=none")
        sums = each.join(
            [each.sums(p.labels, p.scores, task) for p in found], [1.0] * len(found), task
        )
        counts["support"] = sums["true"]
        columns[name] = each.values(sums, task)
        for average in _AVERAGES:
            made: Metric = registry.create("metrics", f"{name}:average={average}")
            averages[average][name] = made.values(sums, task)[0]
    rows: list[Row] = [
        (
            task.names[i],
            {name: values[i] for name, values in columns.items()}
            | {"support": float(counts["support"][i])},
        )
        for i in range(task.num)
    ]
    total = float(counts["support"].sum())
    return rows + [
        (f"{average} average", scores | {"support": total}) for average, scores in averages.items()
    ]


def _of_party(task: MetricTask, part: Predicted) -> dict[str, float]:
    scores = {}
    for name in _OF_PARTIES[task.kind]:
        metric: Metric = registry.create("metrics", name)
        sums = metric.sums(part.labels, part.scores, task)
        scores[name] = metric.values(sums, task)[0]
    return scores | {"support": float(len(part.labels))}
