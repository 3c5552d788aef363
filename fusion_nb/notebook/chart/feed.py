"""All that the chart in the browser knows of a run, or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_nb.core.history import History
from fusion_nb.notebook.chart.rows import Rows, other_run
from fusion_nb.reporting.templates import visible
from fusion_nb.runs.early_stopping import Until
from fusion_nb.runs.run import Run


class Feed:
    """The rounds of a run as numbers, and what else is to be known of it.

    Whenever it is about another run, `epoch` is the next number, and its rounds begin anew.
    """

    def __init__(self) -> None:
        self.epoch = 0
        self._run: Run | None = None
        self._rows = Rows((), ())
        self._fixed: dict[str, Any] = {"title": "", "metrics": [], "columns": [], "runs": []}

    @property
    def count(self) -> int:
        """The number of rounds."""
        return self._rows.count

    def follow(self, run: Run, others: Mapping[str, History]) -> None:
        """Be about a run, with others beside it."""
        parties = [party.id for party in run.federation.parties]
        metrics = run.chart_metrics
        rows = Rows(parties, metrics)
        self._begin(run, rows, f"curves of {run.name}", metrics, others)
        self._fixed |= {
            "columns": rows.columns,
            "parties": list(map(visible, parties)),
            "until": Until(run.spec.until).clauses() if run.spec.until else [],
        }
        self.update()

    def compare(self, runs: Mapping[str, History], metrics: Sequence[str]) -> None:
        """Be about several runs."""
        self._begin(None, Rows((), ()), "curves of several runs", metrics, runs)
        self._fixed |= {"columns": [], "parties": [], "until": [], "compares": True}

    def update(self) -> None:
        """Take the rounds that are new."""
        if self._run is not None:
            self._rows.add(self._run.records)

    def packed(self, first: int) -> bytes:
        """Return the rounds from index `first` on as numbers."""
        return self._rows.packed(first)

    def changing(self) -> dict[str, Any]:
        """Return what changes while a run trains, besides its rounds."""
        planned = 0 if self._run is None else self._run.planned
        return {"planned": planned, "changes": self._rows.changes}

    def head(self) -> dict[str, Any]:
        """Return all that is known besides the rounds."""
        return {**self._fixed, **self.changing(), "epoch": self.epoch}

    def _begin(
        self,
        run: Run | None,
        rows: Rows,
        title: str,
        metrics: Sequence[str],
        runs: Mapping[str, History],
    ) -> None:
        self.epoch += 1
        self._run, self._rows = run, rows
        self._fixed = {
            "title": title,
            # A share goes no further than 1, and so does its axis.
            "metrics": [{"name": metric, "part": "accuracy" in metric} for metric in metrics],
            "runs": [other_run(name, each, metrics) for name, each in runs.items()],
            "compares": False,
        }
