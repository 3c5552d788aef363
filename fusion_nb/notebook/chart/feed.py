"""All that the chart in the browser knows of a run, or of several."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.notebook.chart.costs import StepsOf, no_steps
from fusion_nb.notebook.chart.rows import Rows, other_run
from fusion_nb.reporting.templates import visible
from fusion_nb.runs.early_stopping import Until
from fusion_nb.runs.experiments import steps
from fusion_nb.runs.run import Run


class Feed(Protocol):
    """Numbers for a chart. Whenever they begin anew, `epoch` is another number, a higher one."""

    epoch: int

    @property
    def version(self) -> int:
        """A number that grows with whatever was sent."""

    def update(self) -> None:
        """Take what is new."""

    def has_news(self, since: int) -> bool:
        """Return whether there is more than a version has."""

    def head(self) -> dict[str, Any]:
        """Return all that is known besides the numbers."""

    def whole(self) -> bytes:
        """Return all numbers."""

    def news(self, since: int) -> tuple[dict[str, Any], bytes]:
        """Return a message with what is new since a version, and its numbers."""


class NothingYet:
    """The feed of a chart that shows nothing yet."""

    epoch = version = 0

    def update(self) -> None:
        """Take nothing."""

    def has_news(self, since: int) -> bool:
        """Return False."""
        return False

    def head(self) -> dict[str, Any]:
        """Return a title and no curves."""
        return head_of("", ()) | {"epoch": self.epoch}

    def whole(self) -> bytes:
        """Return no numbers."""
        return b""

    def news(self, since: int) -> tuple[dict[str, Any], bytes]:
        """Return nothing new."""
        return {"type": "rows", "first": 0, "head": {}}, b""


class RunFeed:
    """The rounds of one run, with the fused models of others beside it."""

    def __init__(self, epoch: int, run: Run, others: Mapping[str, History]) -> None:
        self.epoch, self._run = epoch, run
        parties, metrics = [party.id for party in run.federation.parties], run.chart_metrics
        self._rows = Rows(parties, metrics, steps_of(run))
        self._fixed = head_of(f"curves of {run.name}", metrics) | {
            "runs": [other_run(name, each, metrics) for name, each in others.items()],
            "columns": self._rows.columns,
            "parties": list(map(visible, parties)),
            "until": Until(run.spec.until).clauses() if run.spec.until else [],
        }
        self.update()

    @property
    def version(self) -> int:
        """The number of rounds."""
        return self._rows.count

    def update(self) -> None:
        """Take the rounds that are new."""
        self._rows.add(self._run.records)

    def has_news(self, since: int) -> bool:
        """Return whether there are rounds from index `since` on."""
        return self._rows.count > since

    def head(self) -> dict[str, Any]:
        """Return all that is known besides the rounds."""
        return {**self._fixed, **self._changing(), "epoch": self.epoch}

    def whole(self) -> bytes:
        """Return all rounds."""
        return self._rows.packed()

    def news(self, since: int) -> tuple[dict[str, Any], bytes]:
        """Return the rounds from index `since` on."""
        message = {"type": "rows", "first": since, "head": self._changing()}
        return message, self._rows.packed(since)

    def _changing(self) -> dict[str, Any]:
        """Return what changes while a run trains, besides its rounds."""
        return {"planned": self._run.planned, "changes": self._rows.changes}


class ComparisonFeed(NothingYet):
    """The fused models of several runs; what they have when it is made.

    steps: the gradient steps of each round, of the runs in which they are counted
    """

    def __init__(
        self,
        epoch: int,
        runs: Mapping[str, History],
        metrics: Sequence[str],
        steps: Mapping[str, StepsOf],
    ) -> None:
        self.epoch = epoch
        self._fixed = head_of("curves of several runs", metrics) | {
            "compares": True,
            "runs": [
                other_run(name, each, metrics, steps.get(name, no_steps))
                for name, each in runs.items()
            ],
        }

    def head(self) -> dict[str, Any]:
        """Return all that is known."""
        return {**self._fixed, "epoch": self.epoch}


def head_of(title: str, metrics: Sequence[str]) -> dict[str, Any]:
    """Return what a chart says without any curve."""
    return {
        "title": title,
        # A share goes no further than 1, and so does its axis.
        "metrics": [{"name": metric, "part": "accuracy" in metric} for metric in metrics],
        "columns": [],
        "runs": [],
        "parties": [],
        "until": [],
        "compares": False,
        "planned": 0,
        "changes": [],
    }


def steps_of(run: Run) -> StepsOf:
    """Return a function that counts the gradient steps of a round, until an option changes."""
    count, has_changed = steps.counter(run), False
    if count is None:
        return no_steps

    def steps_in(record: RoundRecord) -> float:
        nonlocal has_changed
        has_changed = has_changed or bool(record.changes)
        return math.nan if has_changed else count(record)

    return steps_in
