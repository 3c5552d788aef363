"""The axes, lines and colours that the charts of runs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_nb.reporting.charts.chart import HEIGHT, WIDTH
from fusion_nb.reporting.templates import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours with a contrast of 3:1 on white and on dark; the first is the fused model's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
#: Characters of a name in a chart.
_MAX_NAME = 30


def drawn_name(text: str) -> str:
    """Return a name as charts show it: matplotlib hides a leading underscore from legends."""
    label = shortened(text, _MAX_NAME)
    return f" {label}" if label.startswith("_") else label


def metric_axes(
    metrics: Sequence[str], num_rounds: int, layout: Any
) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure with axes for each metric, against rounds."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(WIDTH, HEIGHT), layout=layout)
    axes = figure.subplots(1, len(metrics))
    for axis, metric in zip(axes, metrics, strict=True):
        axis.set_title(drawn_name(metric), fontsize=10, loc="left")
        # Room on the right for the lines' labels.
        axis.set_xlim(1 - 0.02 * num_rounds, num_rounds * 1.12)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
        axis.set_xlabel("round", loc="left")
        axis.ticklabel_format(axis="y", scilimits=(-3, 4))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(True, color="#dddddd", linewidth=0.6)
        if metric == "accuracy":
            axis.set_ylim(0, 1.02)
    return figure, axes


def draw_line(
    axis: Axes,
    rounds: np.ndarray,
    values: Sequence[float],
    label: str,
    colour: str,
    style: str = "-",
    *,
    width: float = 2.4,
    label_end: bool = True,
) -> None:
    """Draw the measured values of a metric, with a label at the end of the line or in a legend."""
    measured = np.isfinite(np.asarray(values, dtype=float))
    if not measured.any():
        return
    x, y = rounds[measured], np.asarray(values)[measured]
    marker = "o" if len(x) < 3 else None
    axis.plot(
        x,
        y,
        color=colour,
        linewidth=width,
        linestyle=style,
        marker=marker,
        markersize=4,
        label=label,
    )
    if not label_end:
        return
    axis.annotate(
        label,
        (x[-1], y[-1]),
        (5, 0),
        textcoords="offset points",
        color=colour,
        fontsize=9,
        va="center",
    )
