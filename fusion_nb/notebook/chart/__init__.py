"""The chart of a run in the browser: one widget, without a build step and without a network."""

from fusion_nb.notebook.chart.live_chart import LiveChart, close_widgets
from fusion_nb.notebook.chart.widget import RunChart

__all__ = ["LiveChart", "RunChart", "close_widgets"]
