"""Charts of a run, of several runs, of a split and of a confusion matrix: one file each."""

from fusion_nb.reporting.charts.chart import Chart, image_tag
from fusion_nb.reporting.charts.comparison import compare
from fusion_nb.reporting.charts.confusion import confusion
from fusion_nb.reporting.charts.gantt import gantt
from fusion_nb.reporting.charts.heat_map import split
from fusion_nb.reporting.charts.run_curves import curves

__all__ = ["Chart", "compare", "confusion", "curves", "gantt", "image_tag", "split"]
