"""The chart of a run while it trains: the widget, or pictures in a page that has no such widget."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fusion_nb.core.history import History
from fusion_nb.notebook.chart.widget import RunChart
from fusion_nb.reporting import charts
from fusion_nb.reporting.charts import image_tag
from fusion_nb.reporting.charts.run_curves import described
from fusion_nb.runs import session
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.run import Run

#: Seconds after which a page that has drawn no chart is taken for one that can't.
_PATIENCE = 2.0
#: Other runs whose curves can be shown beside this one's: the latest.
_MAX_OTHERS = 3


class LiveChart:
    """The curves of one run, or of an experiment, as a box of widgets.

    The widget's style hides the picture. So where both are drawn, or the widget is not, a reader
    sees one chart.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        import ipywidgets  # only where a front end draws them

        self._clock = clock
        self._shown: Run | Experiment | None = None
        self._since = clock()
        self.chart, self._picture = RunChart(clock), ipywidgets.HTML()
        self._picture.add_class("fnb-picture")
        self.box = ipywidgets.VBox((self.chart, self._picture), layout={"width": "100%"})
        self.box.add_class("fnb-box")

    @property
    def alt(self) -> str:
        """The curves in a sentence."""
        shown = self._shown
        if isinstance(shown, Experiment):
            return shown.plot().alt if shown.has_rounds else ""
        return "" if shown is None else described(shown.records, shown.chart_metrics)

    @property
    def picture(self) -> str:
        """The picture in place of the widget, as HTML; empty where none was needed."""
        return str(self._picture.value)

    @property
    def needs_picture(self) -> bool:
        """Whether the page seems to have no such widget."""
        return not RunChart.was_answered and self._clock() - self._since > _PATIENCE

    def follow(self, run: Run) -> None:
        """Show this run from now on."""
        self._begin(run)
        self.chart.follow(run, _others(run))

    def follow_experiment(self, made: Experiment) -> None:
        """Show the settings of this experiment from now on."""
        self._begin(made)
        self.chart.follow_experiment(made)

    def send_new(self) -> None:
        """Send the rounds that the browser does not have."""
        self.chart.send_new()

    def send_all(self) -> None:
        """Send every round: the page keeps the chart, and can ask for nothing more."""
        self.chart.send_all()

    def draw(self) -> None:
        """Draw the picture, where one is needed."""
        shown = self._shown
        if shown is None or not self.needs_picture:
            return
        if isinstance(shown, Experiment):
            self._picture.value = image_tag(shown.plot()) if shown.has_rounds else ""
        elif shown.records:
            curves = charts.curves(shown.records, shown.chart_metrics, shown.planned)
            self._picture.value = image_tag(curves)

    def close(self) -> None:
        """Let the kernel forget its widgets."""
        self.chart.close_all()
        close_widgets(self._picture, self.box)

    def _begin(self, shown: Run | Experiment) -> None:
        self._shown, self._since = shown, self._clock()
        self._picture.value = ""


def close_widgets(*widgets: Any) -> None:
    """Let the kernel forget widgets, with their layouts and styles."""
    for widget in widgets:
        for own in (getattr(widget, "style", None), widget.layout, widget):
            if own is not None:
                own.close()


def _others(run: Run) -> dict[str, History]:
    """Return the latest runs of the same metrics by name, which can be shown beside this one."""
    same = {
        name: other.records
        for name, other in session.RUNS.items()
        if other is not run and other.records and other.chart_metrics == run.chart_metrics
    }
    return dict(list(same.items())[-_MAX_OTHERS:])
