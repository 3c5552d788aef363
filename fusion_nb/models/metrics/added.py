"""The part of a model's contract that measures the metrics that a run adds to the model's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fusion_nb.core.types import Metrics
from fusion_nb.models.metrics.measures import Measures
from fusion_nb.models.predicting import PredictsRows


class AddedMetrics:
    """Measures the metrics that a run adds, for a model that predicts.

    It is a base class of `Model`, so that each adapter has it.
    """

    #: Measures them; their names are then among the model's `metrics`. None where none are added.
    measures: Measures | None = None

    @property
    def added_metrics(self) -> tuple[str, ...]:
        """Those of `metrics` that the run added, which `evaluate` does not return."""
        return self.measures.names if self.measures is not None else ()

    def evaluate_added(self, data: Any) -> Metrics:
        """Return them over the rows, with the sums behind them."""
        if self.measures is None:
            return {}
        assert isinstance(self, PredictsRows)
        return self.measures.of(self, data)

    def join_added(self, name: str, values: Sequence[Any]) -> float:
        """Return one of them over all rows of several values with sums."""
        assert self.measures is not None
        return self.measures.join(name, values)
