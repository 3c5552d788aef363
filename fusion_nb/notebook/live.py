"""The live view of a run in a cell's output: text and chart while it trains, a static result in
their place after.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from fusion_nb.reporting import charts
from fusion_nb.reporting.charts import image_tag
from fusion_nb.reporting.formatting import caption_html, duration
from fusion_nb.runs.run import Run
from fusion_nb.runs.session import ENDED, UNDER_WAY

#: Redrawing may take this share of the time; with the first and the last picture it stays under 5 %
#: of a run of 20 s.
_SHARE = 0.025
#: Seconds between two redraws at the least: no one sees more.
_PAUSE = 0.3


class Throttle:
    """Says when to draw again, so that drawing takes at most a share of the time, by its measured
    cost.

    share, pause: the share, and the seconds between two drawings at the least;  after: seconds
    until the first
    """

    def __init__(
        self,
        share: float = _SHARE,
        pause: float = _PAUSE,
        clock: Callable[[], float] = time.perf_counter,
        *,
        after: float = 0.0,
    ) -> None:
        self._share, self._pause, self._clock = share, pause, clock
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

    widgets: whether a person is looking at a front end that draws widgets; without one (nbconvert,
             papermill) there is nothing to see until the end, and then the static result alone
    """

    def __init__(self, run: Run, *, widgets: bool) -> None:
        from IPython.display import display

        self._run = run
        # Apart: words cost next to nothing, and should not wait for the picture.
        self._text_throttle, self._throttle = Throttle(), Throttle()
        self._lock = threading.Lock()
        self._told = ""
        self._status: Any = None
        self._chart: Any = None
        if widgets:
            import ipywidgets

            self._status, self._chart = ipywidgets.HTML(), ipywidgets.HTML()
            # Drawn empty first: the place is taken, and the page does not jump when the first round
            # comes in.
            self._status.value, self._chart.value = status_html(run), self._picture()
            shown: Any = {
                "application/vnd.jupyter.widget-view+json": _view(
                    ipywidgets, self._status, self._chart
                )
            }
            shown["text/plain"] = f"{run.name} is running; its result will stand here"
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle = display(
                {"text/plain": f"{run.name} is running"}, raw=True, display_id=True
            )
        self._unsubscribe = run.subscribe(self)

    def __call__(self, run: Run) -> None:
        """Show the state after a round or a change of status; runs in the training thread."""
        with self._lock:  # a pause is told from the thread that asked for it
            if run.status in ENDED:
                self._handle.update(run.result().mimebundle(), raw=True)
                # The output of this cell is final; more rounds show where they are asked for.
                self._unsubscribe()
            elif self._status is not None:
                if run.status != self._told:
                    self._told = run.status
                    self._write()
                self._text_throttle(self._write)
                self._throttle(self._draw)

    def _write(self) -> None:
        self._status.value = status_html(self._run)

    def _draw(self) -> None:
        if self._run.records:
            self._chart.value = self._picture()

    def _picture(self) -> str:
        return image_tag(
            charts.curves(self._run.records, self._run.chart_metrics, self._run.planned)
        )


def _view(ipywidgets: Any, *children: Any) -> dict[str, Any]:
    box = ipywidgets.VBox(children)
    return {"version_major": 2, "version_minor": 0, "model_id": box.model_id}


def status_html(run: Run) -> str:
    """Return the status line; a screen reader says it whenever it changes."""
    notes = [*run.notes, *run.storage_notes]
    return f'<div role="status" aria-live="polite">{caption_html(status_text(run), notes)}</div>'


def status_text(run: Run) -> str:
    """Return where a run stands: round, latest metrics, time left."""
    records = run.records
    parts = [f"{run.name}: {run.status}, round {len(records)} of {run.planned}"]
    if records:
        last = records.last()
        parts += [f"{name} {last[name]:.3f}" for name in run.chart_metrics if name in last]
        took = duration(sum(record.seconds for record in records))
        parts.append(f"{took} so far" if run.status in UNDER_WAY else took)
    if run.status == "running" and records:
        parts.append(f"about {duration(_seconds_left(run))} left")
    if run.status in ENDED and run.reason:
        parts.append(run.reason)
    return ", ".join(parts)


def _seconds_left(run: Run) -> float:
    recent = run.records[-5:]
    return (run.planned - len(run.records)) * sum(record.seconds for record in recent) / len(recent)


def draws_widgets() -> bool:
    """Return whether a person looks on: a front end that can ask for input also draws widgets."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    kernel = getattr(shell, "kernel", None)
    return bool(kernel is not None and kernel.get_parent().get("content", {}).get("allow_stdin"))
