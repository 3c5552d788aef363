"""The live view of a run in a cell's output: text and chart, and at the end a static result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from IPython.display import display

from fusion_nb.reporting import charts
from fusion_nb.reporting.charts import image_tag
from fusion_nb.reporting.formatting import caption_html, duration
from fusion_nb.reporting.templates import render
from fusion_nb.runs.run import Run
from fusion_nb.runs.session import ENDED, UNDER_WAY

#: Drawing may take this share of the time; with the first and the last picture it stays under 5 %
#: of a run of 20 s.
_SHARE = 0.025
#: The least seconds between two drawings: nobody sees more.
_PAUSE = 0.3

_STATUS = '<div role="status" aria-live="polite">{{ caption }}</div>'


class Throttle:
    """Decides when to draw again, so that drawing takes at most a share of the time.

    It measures the cost of each drawing.
    share, pause: the share, and the least seconds between two drawings;  after: seconds until the
    first drawing
    """

    def __init__(
        self,
        share: float = _SHARE,
        pause: float = _PAUSE,
        clock: Callable[[], float] = time.perf_counter,
        *,
        after: float = 0.0,
    ) -> None:
        self._share = share
        self._pause = pause
        self._clock = clock
        self._next = clock() + after

    def __call__(self, draw: Callable[[], None]) -> None:
        """Draw now, or not at all if the last time is too recent."""
        started = self._clock()
        if started < self._next:
            return
        draw()
        ended = self._clock()
        self._next = ended + max(self._pause, (ended - started) * (1 / self._share - 1))


class LiveView:
    """Shows a run in the output of the cell that made it.

    widgets:  whether a person looks on, in a front end that draws widgets; without one (nbconvert,
              papermill) the static result at the end is all there is
    throttle: makes what decides how often text and chart are drawn

    `box` holds the widgets, the text above the chart; it is None without them.
    """

    def __init__(
        self, run: Run, *, widgets: bool, throttle: Callable[[], Throttle] = Throttle
    ) -> None:
        self._run = run
        # Two of them: text costs next to nothing, and should not wait for the picture.
        self._text_throttle = throttle()
        self._chart_throttle = throttle()
        self._lock = threading.Lock()
        self._shown_status = ""
        self._status: Any = None
        self._chart: Any = None
        self.box: Any = None
        self._handle = self._show_widgets() if widgets else self._show_text()
        self._unsubscribe = run.subscribe(self)

    def __call__(self, run: Run) -> None:
        """Show the state after a round or a change of status; runs in the training thread."""
        with self._lock:  # a pause is reported from the thread that asked for it
            if run.status in ENDED:
                self._handle.update(run.result().mimebundle(), raw=True)
                # This cell is final; more rounds are shown in the cell that asks for them.
                self._unsubscribe()
                self._close_widgets()
            elif self._status is not None:
                if run.status != self._shown_status:
                    self._shown_status = run.status
                    self._write()
                self._text_throttle(self._write)
                self._chart_throttle(self._draw)

    def _show_widgets(self) -> Any:
        """Display the widgets, and return the handle of their output."""
        import ipywidgets  # only where a front end draws them

        self._status, self._chart = ipywidgets.HTML(), ipywidgets.HTML()
        # Filled before the first round, so that the page does not jump when that comes in.
        self._write()
        self._chart.value = self._picture()
        self.box = ipywidgets.VBox((self._status, self._chart))
        view = {"version_major": 2, "version_minor": 0, "model_id": self.box.model_id}
        bundle = {
            "application/vnd.jupyter.widget-view+json": view,
            "text/plain": f"{self._run.name} is running; its result will stand here",
        }
        return display(bundle, raw=True, display_id=True)

    def _show_text(self) -> Any:
        return display({"text/plain": f"{self._run.name} is running"}, raw=True, display_id=True)

    def _close_widgets(self) -> None:
        """Let the kernel forget the widgets, which the static result has replaced."""
        if self.box is None:
            return
        parts = (self.box, *self.box.children)
        for part in parts:
            for own in (getattr(part, "style", None), part.layout, part):
                if own is not None:
                    own.close()

    def _write(self) -> None:
        self._status.value = status_html(self._run)

    def _draw(self) -> None:
        if self._run.records:
            self._chart.value = self._picture()

    def _picture(self) -> str:
        return image_tag(
            charts.curves(self._run.records, self._run.chart_metrics, self._run.planned)
        )


def status_html(run: Run) -> str:
    """Return the status line; a screen reader says it whenever it changes."""
    notes = [*run.notes, *run.storage.notes]
    return render(_STATUS, caption=caption_html(status_text(run), notes))


def status_text(run: Run) -> str:
    """Return the status of a run: round, latest metrics, time left."""
    records = run.records
    parts = [f"{run.name}: {run.status}, round {len(records)} of {run.planned}"]
    if records:
        last = records.last()
        parts += [f"{name} {last[name]:.3f}" for name in run.chart_metrics if name in last]
        elapsed = duration(sum(record.seconds for record in records))
        parts.append(f"{elapsed} so far" if run.status in UNDER_WAY else elapsed)
    if run.status == "running" and records:
        parts.append(f"about {duration(_seconds_left(run))} left")
    if run.status in ENDED and run.reason:
        parts.append(run.reason)
    return ", ".join(parts)


def _seconds_left(run: Run) -> float:
    recent = run.records[-5:]
    return (run.planned - len(run.records)) * sum(record.seconds for record in recent) / len(recent)
