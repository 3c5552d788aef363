"""The run in a panel: its status, its curves and its parties, redrawn by the training thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

import ipywidgets as widgets
from markupsafe import Markup

from fusion_nb.core.types import Failure
from fusion_nb.engines.progress import Progress
from fusion_nb.notebook.chart import LiveChart
from fusion_nb.notebook.live import TEXT_SHARE, Throttle, notes_of, status_line_html
from fusion_nb.notebook.panel.messages import disclosure
from fusion_nb.notebook.panel.notes import notes_html
from fusion_nb.reporting.formatting import html_table, number
from fusion_nb.reporting.result import Result
from fusion_nb.reporting.templates import render
from fusion_nb.runs.run import Run
from fusion_nb.runs.session import ENDED

#: Parties in the table, and failures below it; `run.parties` and `run.failures` have all.
_MAX_ROWS = 20
#: Seconds after which a round's replies are told, and between two such lines.
_LONG_ROUND = 0.5
_REPLIES = """\
round {{ progress.round }}: {{ progress.num_replies }} of {{ progress.cohort_size }} parties \
answered{% if progress.failed %}, {{ progress.failed | length }} failed{% endif %}"""


class RunView:
    """Shows one run: a status line, the replies within a round and curves in `box`, and a table of
    parties in `table_box`.

    Text and tables are drawn seldom enough that each takes at most a hundredth of the run's time,
    by its measured cost; the last state is always shown.

    throttle: makes what decides how often something is drawn, as `Throttle` does
    """

    def __init__(self, throttle: Callable[..., Throttle] = Throttle) -> None:
        self.run: Run | None = None
        self._subscriptions: list[Callable[[], None]] = []
        self._throttle, self._lock = throttle, threading.Lock()
        self._throttles = self._new_throttles()
        self._shown_status = ""
        self._progress: Progress | None = None
        # The notes are a widget of their own: a disclosure in the status would close with each
        # round.
        self._status, self._replies, self._notes = (widgets.HTML() for _ in range(3))
        self.live_chart, self._table = LiveChart(), widgets.HTML()
        self.box = widgets.VBox([self._status, self._notes, self._replies, self.live_chart.box])
        # A line that comes and goes must not move the widgets below it.
        self._replies.layout.min_height = "1.8em"
        self.box.layout.display = self._table.layout.display = "none"

    @property
    def table_box(self) -> widgets.HTML:
        """The widget with the table of parties."""
        return self._table

    @property
    def status(self) -> str:
        """The status line, as HTML."""
        return str(self._status.value)

    @property
    def notes(self) -> str:
        """The notes of the run, as HTML."""
        return str(self._notes.value)

    @property
    def replies(self) -> str:
        """The replies within the round, as HTML."""
        return str(self._replies.value)

    @property
    def chart(self) -> str:
        """The curves, in a sentence."""
        return self.live_chart.alt

    @property
    def table(self) -> str:
        """The table of parties with the failures below it, as HTML."""
        return str(self._table.value)

    def follow(self, run: Run) -> None:
        """Show this run from now on, in place of another one."""
        self.leave()
        with self._lock:
            self.run, self._shown_status = run, run.status
            self._throttles = self._new_throttles()
            self._progress = None
            self.live_chart.follow(run)
            # Everything is drawn before the first round, so that the page does not jump when that
            # comes in.
            self._write(run)
            self._draw(run)
        self.box.layout.display = self._table.layout.display = ""
        self._subscriptions = [run.subscribe(self._update), run.on_progress(self._receive)]
        if run.status != self._shown_status:  # it ended before it had a listener
            self._update(run)

    def leave(self) -> None:
        """Stop following the run that is shown."""
        self.run = None
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._subscriptions = []

    def _update(self, run: Run) -> None:
        """Show the state after a round or a change of status."""
        with self._lock:  # a pause is reported from the thread that asked for it
            if run is not self.run:
                return
            if run.status != self._shown_status:
                self._shown_status = run.status
                self._write(run)
            if run.status in ENDED:
                self._progress = None
            if run.status in ("paused", *ENDED):  # no update follows soon, so this one is complete
                self._write(run)
                self._draw(run)
            elif run.records:
                self._throttles["text"](partial(self._write, run))
                self._throttles["table"](partial(self._draw, run))

    def _receive(self, progress: Progress) -> None:
        """Show a party's reply; called by the engine."""
        before = self._progress
        if before is None or before.round != progress.round:
            # A line that comes and goes with each short round tells nothing.
            self._throttles["replies"] = self._throttle(pause=_LONG_ROUND, after=_LONG_ROUND)
        self._progress = progress
        self._throttles["replies"](self._tell_replies)

    def _tell_replies(self) -> None:
        if self.run is not None and self.run.status == "running":
            self._count()

    def _new_throttles(self) -> dict[str, Throttle]:
        return {
            "text": self._throttle(share=TEXT_SHARE),
            "replies": self._throttle(pause=_LONG_ROUND, after=_LONG_ROUND),
            # A table of the first round alone shows little, and the next would have to wait until
            # its cost is paid off.
            "table": self._throttle(pause=5.0, after=1.0),
        }

    def _count(self) -> None:
        progress = self._progress
        self._replies.value = "" if progress is None else render(_REPLIES, progress=progress)

    def _write(self, run: Run) -> None:
        text, notes = status_line_html(run), notes_html(tuple(notes_of(run)))
        self.live_chart.send_new()  # the chart is never behind the text
        self._status.value, self._notes.value = text, notes
        if self._replies.value:
            self._count()

    def _draw(self, run: Run) -> None:
        self.live_chart.draw()
        result, failures = run.result(), run.failures
        self._table.value = parties_html(result, failures) + failures_html(result, failures)


def parties_html(result: Result, failures: Sequence[Failure]) -> Markup:
    """Return a table of parties: rows, training loss, metrics on their own test rows, failures.

    At the end of the run the charts of contributions and of parties that never trained follow.
    """
    metric, latest = result.metrics[1], result.history.latest()
    has_personal = any(party.personal for party in result.parties)
    header = ["party", "rows", "test rows", "train loss", f"local {metric}"]
    header += [f"personal {metric}" if has_personal else f"fused {metric}"]
    # Counting every party takes long for some, and must not slow the rounds down.
    is_counted = result.status in ("finished", "stopped") and bool(result.history)
    is_private = is_counted and "epsilon" in result.history[-1].metrics
    header += [*(["epsilon"] if is_private else []), "failures"]
    rows = [header]
    for party in result.parties[:_MAX_ROWS]:
        own = party.personal or party.fused
        metrics = (
            latest.get(party.id, {}).get("train_loss"),
            party.local.get(metric),
            own.get(metric),
        )
        failed = sum(failure.party == party.id for failure in failures)
        counts = [party.id, str(party.num_examples), str(party.num_test)]
        spent = [number(party.epsilon)] if is_private else []
        rows.append([*counts, *map(number, metrics), *spent, str(failed or "")])
    if (hidden := len(result.parties) - _MAX_ROWS) > 0:
        empty = [""] * (len(header) - 1)
        rows.append([f"and {hidden} more: {result.name}.parties", *empty])
    return html_table(rows) + (result.parties.contributions.images() if is_counted else "")


def failures_html(result: Result, failures: Sequence[Failure]) -> Markup:
    """Return the error that ended the run and the failures of parties.

    Each has its traceback behind a disclosure.
    """
    parts = [disclosure(result.reason, result.traceback)] if result.traceback else []
    latest_first = failures[: -_MAX_ROWS - 1 : -1]
    parts += [
        disclosure(f"{failure.party}: {failure.error}", failure.traceback)
        for failure in latest_first
    ]
    return Markup().join(parts)
