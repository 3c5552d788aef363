"""Charts of a run, of several runs, of parties, a split, a confusion matrix: one file each."""

from fusion_nb.reporting.charts.chart import Chart, image_tag
from fusion_nb.reporting.charts.comparison import compare
from fusion_nb.reporting.charts.confusion import confusion
from fusion_nb.reporting.charts.contributions import contributions, cross_site
from fusion_nb.reporting.charts.gantt import gantt
from fusion_nb.reporting.charts.heat_map import split
from fusion_nb.reporting.charts.run_curves import curves

__all__ = [
    "Chart",
    "compare",
    "confusion",
    "contributions",
    "cross_site",
    "curves",
    "gantt",
    "image_tag",
    "split",
]
