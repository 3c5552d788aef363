"""What a run answers about its data, and about rows that a user gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types.table import TableSchema
from fusion_nb.errors import python_spelling, spelled_in
from fusion_nb.reporting.charts import Chart, gantt
from fusion_nb.reporting.contributions import Contributions
from fusion_nb.reporting.result import Similar
from fusion_nb.runs.clock.building import round_of
from fusion_nb.runs.run_parts import RunParts


class Answers(RunParts):
    """The questions about data and rows that a run answers."""

    @property
    def schema(self) -> DataSchema:
        """What rows and labels are, at every party alike, as was settled before round 1."""
        return self.outcome.schema

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in the order of the model's outputs, where labels were text."""
        return self.schema.labels.classes

    @property
    def tabular(self) -> TableSchema | None:
        """How the columns of a table became the model's inputs, or None without that option."""
        return self.schema.table

    @property
    def contributions(self) -> Contributions:
        """What each party adds to the fused model: the option `contribution`. It waits for the end.

        Empty without that option, and before the end.
        """
        self.training.settle()
        return self.outcome.contributions

    def predict(self, rows: Any, *, scores: bool = False) -> Any:
        """Return the fused model's predictions for rows: an array of the labels that it expects.

        rows:   a frame with the columns of the training, in any order, or arrays as in training
        scores: return a DataFrame with the probability of each class
        Raises DataError for rows of another form, RunError before the first whole round.
        """
        self.training.settle()
        with spelled_in(python_spelling):
            return self.outcome.predict(rows, scores)

    def gantt(self, round: int = 0) -> Chart:
        """Return a picture of a round on the simulated clock: who trained, waited, or was late.

        round: its number; 0 for the last one
        Raises RunError for a run without simulated time, or a round that there is not.
        """
        self.training.settle()
        with spelled_in(python_spelling):
            return gantt(round_of(self.training.state.records, round))

    def similar(self, text: str | Sequence[str], topn: int = 10) -> Similar:
        """Return the documents that parties trained on nearest to a text or its words.

        They are named by tag and party; no text is shown. Raises RunError for a model without
        vectors of documents, or before the first whole round.
        """
        self.training.settle()
        return self.outcome.similar(text, topn)
