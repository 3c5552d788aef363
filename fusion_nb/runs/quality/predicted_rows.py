"""The answers of a run about its test rows and its loss: predictions, confusion, report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_nb.reporting.confusion import Confusion
from fusion_nb.reporting.report import Report
from fusion_nb.runs.quality.predictions import Predictions
from fusion_nb.runs.run_parts import RunParts

if TYPE_CHECKING:
    import pandas as pd


class PredictedRows(RunParts):
    """A run's answers about the test rows of its parties; they wait for a run that is under way."""

    @property
    def loss_name(self) -> str:
        """The name of the loss that the model is trained by, or "" where it is not known."""
        return self.outcome.loss_name

    def predictions(self, party: str | None = None, *, personal: bool = False) -> pd.DataFrame:
        """Return a DataFrame of predictions for test rows: party, row, label, predicted, scores.

        party:    whose test rows; by default those that the fused model is measured on
        personal: by the parties' own models, and not by the fused one
        Scores have a column for each class, of its name. Rows stay in this process: where a service
        trains, it raises RunError.
        """
        self.training.settle()
        return self._predictions().frame(party, is_personal=personal)

    def confusion(self, party: str | None = None, *, personal: bool = False) -> Confusion:
        """Return the confusion matrix of the test rows; arguments as in `predictions`."""
        self.training.settle()
        return self._predictions().confusion(party, is_personal=personal)

    def report(self, *, personal: bool = False) -> Report:
        """Return precision, recall and F1 of each class, and the scores of each party."""
        self.training.settle()
        return self._predictions().report(is_personal=personal)

    def _predictions(self) -> Predictions:
        return Predictions(self.prepared.resolved, self._source, self.training.name)
