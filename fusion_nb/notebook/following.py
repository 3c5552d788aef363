"""Views of a run that a waiting cell brings up to date by itself."""

from __future__ import annotations

import time

from IPython.display import display

from fusion_nb.notebook.kernel import draws_widgets, repaints_only_for_cells
from fusion_nb.notebook.live import LiveView, Throttle, status_html, status_text
from fusion_nb.reporting import charts
from fusion_nb.reporting.charts import image_tag
from fusion_nb.runs.run import Run

#: Seconds between two looks at a run.
_PAUSE = 0.3


class CellView:
    """Shows a run in a cell's output as text and a picture, which `refresh` brings up to date.

    It is for front ends that draw what a cell displays while it runs, and nothing of what other
    threads do: Google Colab.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._picture = ""
        self._draw_now = Throttle()
        self._handle = display(self._bundle(), raw=True, display_id=True)

    def refresh(self) -> None:
        """Show the state of the run now."""
        if self._run.records:
            self._draw_now(self._draw)
        self._handle.update(self._bundle(), raw=True)

    def end(self) -> None:
        """Let the result so far stand here."""
        self._handle.update(self._run.result().mimebundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        text = f"{status_html(self._run)}{self._picture}"
        return {"text/html": text, "text/plain": status_text(self._run)}

    def _draw(self) -> None:
        run = self._run
        self._picture = image_tag(charts.curves(run.records, run.chart_metrics, run.planned))


def wait_in(view: CellView, run: Run) -> None:
    """Wait for a run as `run.wait` does, and bring its view up to date meanwhile."""
    try:
        while run.status == "running":
            view.refresh()
            run.wait(_PAUSE)
        run.wait()
    finally:
        view.end()


def follow(run: Run) -> str:
    """Show a run in this cell until it ends or is paused.

    An interrupt ends the following, and not the run. Return what is to be said then, or "".
    """
    if run.status != "running":
        display(run.result().mimebundle(), raw=True)
        return ""
    try:
        if draws_widgets() and not repaints_only_for_cells():
            _look_at(LiveView(run, widgets=True), run)
        else:
            _refresh(CellView(run), run)
    except KeyboardInterrupt:
        return f"{run.name} goes on: %fusion stop {run.name} ends it"
    return ""


def _look_at(view: LiveView, run: Run) -> None:
    try:
        while run.status == "running":
            time.sleep(_PAUSE)
    finally:
        view.leave()


def _refresh(view: CellView, run: Run) -> None:
    try:
        while run.status == "running":
            view.refresh()
            time.sleep(_PAUSE)
    finally:
        view.end()
