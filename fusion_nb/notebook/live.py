"""The live view of a run in a cell's output: text and chart, and at the end a static result."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from IPython.display import display

from fusion_nb.core.history import History
from fusion_nb.core.types import Metrics
from fusion_nb.reporting.formatting import caption_html, duration, number
from fusion_nb.reporting.templates import render
from fusion_nb.runs.run import Run
from fusion_nb.runs.session import ENDED, UNDER_WAY

if TYPE_CHECKING:
    from fusion_nb.notebook.chart import LiveChart  # it imports widgets

#: Writing and drawing may each take this share of the time.
_SHARE = 0.01
#: The share of writing alone: other threads, and the page, which a text wakes, take as much again.
TEXT_SHARE = _SHARE / 2
#: The least seconds between two texts, with the points that belong to them: nobody reads more, and
#: a screen reader says each of them.
_PAUSE = 0.3
#: The latest rounds that tell how long those to come take, at most; and seconds from which the
#: first round tells it too, which has more to do than the others.
_NUM_LATEST, _LONG_ROUND = 500, 10.0

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
    throttle: makes what decides how often something is shown, as `Throttle` does

    `box` holds the widgets, the text above the chart; it is None without them.
    """

    def __init__(
        self,
        run: Run,
        *,
        widgets: bool,
        throttle: Callable[..., Throttle] = Throttle,
    ) -> None:
        self._run = run
        self._write_now, self._draw_now = throttle(share=TEXT_SHARE), throttle()
        self._lock = threading.Lock()
        self._is_following = True
        self._shown_status = ""
        self._status: Any = None
        self._chart: LiveChart | None = None
        self.box: Any = None
        self._handle = self._show_widgets() if widgets else self._show_text()
        self._unsubscribe = run.subscribe(self)

    def __call__(self, run: Run) -> None:
        """Show the state after a round or a change of status; runs in the training thread."""
        with self._lock:  # a pause is reported from the thread that asked for it
            status = run.status
            if status in ENDED:
                # This cell is final; more rounds are shown in the cell that asks for them.
                self._end()
            elif self._chart is not None:
                if status != self._shown_status or status == "paused":  # none may follow soon
                    self._shown_status = status
                    self._write()
                self._write_now(self._write)
                self._draw_now(self._chart.draw)

    @property
    def chart(self) -> LiveChart | None:
        """The chart, or None without widgets."""
        return self._chart

    def leave(self) -> None:
        """Follow the run no further, and let its result so far stand here."""
        with self._lock:
            if self._is_following:
                self._end()

    def _end(self) -> None:
        self._is_following = False
        if self._chart is not None:
            self._chart.send_all()
        self._handle.update(self._run.result().mimebundle(), raw=True)
        self._unsubscribe()
        self._close_widgets()

    def _show_widgets(self) -> Any:
        """Display the widgets, and return the handle of their output."""
        import ipywidgets  # only where a front end draws them

        from fusion_nb.notebook.chart import LiveChart

        self._status, self._chart = ipywidgets.HTML(), LiveChart()
        self._chart.follow(self._run)
        # Filled before the first round, so that the page does not jump when that comes in.
        self._write()
        self.box = ipywidgets.VBox((self._status, self._chart.box))
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
        if self._chart is None:
            return
        from fusion_nb.notebook.chart import close_widgets

        self._chart.close()
        close_widgets(self.box, self._status)

    def _write(self) -> None:
        """Show the status after the points that belong to it."""
        assert self._chart is not None
        text = status_html(self._run)
        self._chart.send_new()
        self._status.value = text


def status_html(run: Run) -> str:
    """Return the status line with the notes below it; see `status_line_html`."""
    return render(_STATUS, caption=caption_html(status_text(run), notes_of(run)))


def status_line_html(run: Run) -> str:
    """Return the status line alone; a screen reader says it whenever it changes."""
    return render(_STATUS, caption=caption_html(status_text(run), []))


def notes_of(run: Run) -> list[str]:
    """Return the notes of a run, and those on the folder that keeps its rounds."""
    return [*run.notes, *run.storage.notes]


def status_text(run: Run) -> str:
    """Return the status of a run: round, latest metrics, time left."""
    records, status = run.records, run.status
    parts = [f"{run.name}: {status}, round {len(records)} of {run.planned}"]
    if records:
        counted = ["epsilon"] if "epsilon" in records[-1].metrics else []
        last = _latest(records, [*run.chart_metrics, *counted])
        parts += [f"{name} {number(value)}" for name, value in last.items()]
        elapsed = duration(records.seconds())
        parts.append(f"{elapsed} so far" if status in UNDER_WAY else elapsed)
    left = seconds_left(records, run.planned)
    if status == "running" and left:  # after the last round the rest is not known
        parts.append(f"about {duration(left)} left")
    if status in ENDED and run.reason:
        parts.append(run.reason)
    return ", ".join(parts)


def seconds_left(records: History, planned: int) -> float | None:
    """Return how long the rounds to come take, judged by the latter half of those before.

    The half grows with the rounds, and the longest of them counts for no more than all others
    together (and than three, where they are few), so that a single round never changes much, also
    if the machine stood still in it. The first round counts only if it is long: otherwise it mostly
    measures the setting up. None is not known yet.
    """
    if len(records) == 1 and records[0].seconds >= _LONG_ROUND:
        return (planned - 1) * records[0].seconds
    count = min(max(len(records) // 2, min(len(records) - 1, 8)), _NUM_LATEST)
    if count < 1:
        return None
    *others, longest = sorted(record.seconds for record in records[-count:])
    if others:
        longest = min(longest, sum(others) * max(1, 3 / len(others)))
    return (planned - len(records)) * (sum(others) + longest) / count


def _latest(records: History, metrics: Sequence[str]) -> Metrics:
    """Return metrics, each from the last round that measured it, without a look at all rounds."""
    found: Metrics = {}
    for record in reversed(records):
        found = {name: record.metrics[name] for name in metrics if name in record.metrics} | found
        if len(found) == len(metrics):
            break
    return {name: found[name] for name in metrics if name in found}
