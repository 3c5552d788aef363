"""A run while it goes on: where it stands, its curves, and its parties; told by the training
thread.
"""

from __future__ import annotations

import html
import threading
from collections.abc import Callable, Sequence

import ipywidgets as widgets

from fusion_nb.core.types import Failure
from fusion_nb.engines.progress import Progress
from fusion_nb.notebook.live import Throttle, status_html
from fusion_nb.notebook.panel.messages import disclosed
from fusion_nb.reporting import charts
from fusion_nb.reporting.formatting import html_table, number
from fusion_nb.reporting.result import Result
from fusion_nb.runs.run import Run
from fusion_nb.runs.session import ENDED

#: Parties in the table; a federation of thousands is read from `run.parties`.
_MAX_PARTIES = 20


class Watch:
    """Shows one run: a status line, the replies within a round, curves, and a table of parties.

    Words and pictures are redrawn as rarely as it takes to keep drawing under 5 % of the run's
    time, by its measured cost; but what is final is always shown.
    """

    def __init__(self) -> None:
        self.run: Run | None = None
        self._subscriptions: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._text, self._reply, self._picture = Throttle(), Throttle(), Throttle()
        self._told = ""
        self._progress: Progress | None = None
        self._status, self._replies = widgets.HTML(), widgets.HTML()
        self._chart, self._table = widgets.HTML(), widgets.HTML()
        self.box = widgets.VBox([self._status, self._replies, self._chart, self._table])
        self._replies.layout.min_height = (
            "1.8em"  # a line that comes and goes must not move what is below
        )
        self.box.layout.display = "none"

    def follow(self, run: Run) -> None:
        """Show this run from now on, in place of another one."""
        self.leave()
        with self._lock:
            self.run, self._told = run, run.status
            # A picture of the first round alone says little, and the next would have to wait for
            # what it cost.
            self._text, self._reply, self._picture = Throttle(), Throttle(), Throttle(after=1.0)
            self._progress = None
            # Everything takes its place before the first round, or the page would jump when that
            # comes in.
            self._write(run)
            self._draw(run)
        self.box.layout.display = ""
        self._subscriptions = [run.subscribe(self._hear), run.on_progress(self._hear_reply)]
        if run.status != self._told:  # it ended before there was anybody to be told
            self._hear(run)

    def leave(self) -> None:
        """Show no further news of the run that is shown."""
        self.run = None
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._subscriptions = []

    def _hear(self, run: Run) -> None:
        """Show the state after a round or a change of status."""
        with self._lock:  # a pause is told from the thread that asked for it
            if run is not self.run:
                return
            if run.status != self._told:
                self._told = run.status
                self._write(run)
            if run.status in ENDED:
                self._progress = None
            if run.status in (
                "paused",
                *ENDED,
            ):  # nothing will come for a while, so this must be whole
                self._write(run)
                self._draw(run)
            elif run.records:
                self._text(lambda: self._write(run))
                self._picture(lambda: self._draw(run))

    def _hear_reply(self, progress: Progress) -> None:
        run = self.run
        self._progress = progress
        if run is not None and run.status == "running":
            self._reply(self._count)

    def _count(self) -> None:
        progress = self._progress
        if progress is None:
            self._replies.value = ""
        else:
            failed = f", {len(progress.failed)} failed" if progress.failed else ""
            line = (
                f"round {progress.round}: {progress.num_replies} of {progress.cohort_size} "
                "parties answered"
            )
            self._replies.value = html.escape(f"{line}{failed}")

    def _write(self, run: Run) -> None:
        self._status.value = status_html(run)
        self._count()

    def _draw(self, run: Run) -> None:
        self._chart.value = charts.image_tag(
            charts.curves(run.records, run.chart_metrics, run.planned)
        )
        found, failures = run.result(), run.failures
        self._table.value = parties_html(found, failures) + failures_html(found, failures)


def parties_html(found: Result, failures: Sequence[Failure]) -> str:
    """Return a table of parties: rows, the last loss, local and fused metric on own test rows,
    failures.
    """
    metric, latest = found.metrics[1], found.history.latest()
    rows = [
        [
            "party",
            "rows",
            "test rows",
            "train loss",
            f"local {metric}",
            f"fused {metric}",
            "failures",
        ]
    ]
    for party in found.parties[:_MAX_PARTIES]:
        own = latest.get(party.id, {})
        metrics = [own.get("train_loss"), party.local.get(metric), party.fused.get(metric)]
        if party.personal:
            metrics[2] = party.personal.get(metric)
        failed = sum(failure.party == party.id for failure in failures)
        rows.append(
            [
                party.id,
                str(party.num_examples),
                str(party.num_test),
                *map(number, metrics),
                str(failed or ""),
            ]
        )
    if any(party.personal for party in found.parties):
        rows[0][5] = f"personal {metric}"
    if len(found.parties) > _MAX_PARTIES:
        rows.append(
            [
                f"and {len(found.parties) - _MAX_PARTIES} more: {found.name}.parties",
                *[""] * (len(rows[0]) - 1),
            ]
        )
    return html_table(rows)


def failures_html(found: Result, failures: Sequence[Failure]) -> str:
    """Return the failures of parties and what ended the run, each with its traceback behind a
    disclosure.
    """
    parts = [disclosed(found.reason, found.traceback)] if found.traceback else []
    shown = failures[: -_MAX_PARTIES - 1 : -1]  # the latest first
    parts += [
        disclosed(f"{failure.party}: {failure.error}", failure.traceback) for failure in shown
    ]
    return "".join(parts)
