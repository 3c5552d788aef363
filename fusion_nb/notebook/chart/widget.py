"""The chart widget: curves that grow in the browser while a run trains."""

from __future__ import annotations

import itertools
import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from fusion_nb.core.history import History
from fusion_nb.notebook.chart.costs import StepsOf
from fusion_nb.notebook.chart.experiment_feed import ExperimentFeed
from fusion_nb.notebook.chart.feed import ComparisonFeed, Feed, NothingYet, RunFeed
from fusion_nb.notebook.subshells import answer_beside
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.run import Run

#: Seconds after which a browser that has not answered is sent everything again, doubled each time:
#: it loses what comes before its side of the widget is loaded.
_FIRST_WAIT, _LAST_WAIT = 0.5, 30.0
_FOLDER = Path(__file__).parent
#: One module in several files, in their order.
_SCRIPTS = ("numbers", "store", "settings", "view", "panel", "helpers")


def _whole_head(_: object, chart: RunChart) -> dict[str, Any]:
    return chart.feed.head()


def _all_rows(_: object, chart: RunChart) -> bytes:
    return chart.feed.whole()


def _script() -> str:
    return "\n".join((_FOLDER / "js" / f"{name}.js").read_text("utf-8") for name in _SCRIPTS)


class _Resends:
    """When everything is sent again: at growing intervals, never once a browser has answered."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._wait = clock, _FIRST_WAIT
        self._next = clock() + _FIRST_WAIT

    def is_due(self) -> bool:
        """Return whether the time has come, and wait longer for the next one."""
        if self._clock() < self._next:
            return False
        self._next = self._clock() + self._wait
        self._wait = min(2 * self._wait, _LAST_WAIT)
        return True

    def end(self) -> None:
        """Send nothing again from now on."""
        self._next = math.inf


class RunChart(anywidget.AnyWidget):
    """Curves of one run, with those of others beside it, of several runs, or of an experiment.

    New rounds are sent as numbers, many in one message. The state of the widget, which is packed
    only when somebody asks for it, holds all of them: a page that is loaded again, and a second
    view, get everything.

    A front end without magics, such as marimo, shows it as any other widget:
    `chart = RunChart(); chart.follow(run); run.subscribe(lambda run: chart.send_new())`.
    """

    # Read here and not by anywidget, which would hold every widget that was ever made.
    _esm = traitlets.Unicode(_script()).tag(sync=True)
    _css = traitlets.Unicode((_FOLDER / "chart.css").read_text("utf-8")).tag(sync=True)
    key = traitlets.Unicode().tag(sync=True)
    head = traitlets.Dict().tag(sync=True, to_json=_whole_head)
    rows = traitlets.Bytes().tag(sync=True, to_json=_all_rows)

    #: Whether a browser has answered any chart of this process: then pictures are not needed.
    was_answered = False

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.feed: Feed = NothingYet()
        self._next_epoch = itertools.count(1).__next__
        self._resends, self._lock = _Resends(clock), threading.RLock()
        self._num_sent = 0
        super().__init__(key=uuid.uuid4().hex)
        self.on_msg(self._hear)
        answer_beside(self)

    def follow(self, run: Run, others: Mapping[str, History] | None = None) -> None:
        """Show a run from now on, in place of what was shown.

        others: other runs of the same metrics, whose curves are drawn once the reader asks for them
        """
        with self._lock:
            self.feed = RunFeed(self._next_epoch(), run, others or {})
            self._send_whole()

    def follow_experiment(self, made: Experiment) -> None:
        """Show the means of an experiment's settings, and their runs, from now on."""
        with self._lock:
            self.feed = ExperimentFeed(made, self._next_epoch)
            self._send_whole()

    def compare(
        self,
        runs: Mapping[str, History],
        metrics: Sequence[str],
        steps: Mapping[str, StepsOf] | None = None,
    ) -> None:
        """Show the fused models of several runs, in place of what was shown.

        steps: count the gradient steps of each round, of the runs in which they can be
        """
        with self._lock:
            self.feed = ComparisonFeed(self._next_epoch(), runs, metrics, steps or {})
            self._send_whole()

    def send_new(self) -> None:
        """Send the rounds that the browser does not have."""
        with self._lock:
            epoch = self.feed.epoch
            self.feed.update()
            if self.feed.epoch != epoch:
                self._send_whole()
            elif self.feed.has_news(self._num_sent):
                message, numbers = self.feed.news(self._num_sent)
                self._num_sent = self.feed.version
                self.send({**message, "epoch": epoch}, [numbers])
            if self._resends.is_due():
                self._send_whole()

    def send_all(self) -> None:
        """Send every round, whatever the browser has."""
        with self._lock:
            self.feed.update()
            self._send_whole()

    def close_all(self) -> None:
        """Let the kernel forget it."""
        self.layout.close()
        self.close()

    def _send_whole(self) -> None:
        self._num_sent = self.feed.version
        self.send_state(["head", "rows"])

    def _hear(self, _: object, content: Any, buffers: object) -> None:
        """Answer a browser, which says what it has, or that something is missing."""
        with self._lock:
            RunChart.was_answered = True
            self._resends.end()
            lacks = (content.get("epoch"), content.get("have")) != (
                self.feed.epoch,
                self._num_sent,
            )
            if content.get("type") == "whole" or lacks:
                self._send_whole()
