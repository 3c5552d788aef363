"""The axes, lines and colours that the charts of runs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_nb.reporting.charts.chart import HEIGHT, INK, WIDTH
from fusion_nb.reporting.templates import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours with a contrast of 3:1 on white and on dark; the first is the fused model's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
#: More of them, for parties.
PARTY_COLOURS = (*COLOURS[1:], "#8470E0", "#9C7A00", "#1490A8", "#B5653B", "#7A8590")
#: The part of an axis from 0 to 1 that curves must use for it to be drawn whole.
_MUCH = 0.5
#: Points between two labels, one below the other, and characters of a label at a line's end.
_LABEL_HEIGHT, _MAX_LABEL = 10, 14
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
    # The numbers of rounds have room side by side.
    num_ticks = (10 if len(metrics) < 3 else 6) * 4 // max(4, len(str(num_rounds)) + 1)
    for axis, metric in zip(axes, metrics, strict=True):
        axis.set_title(drawn_name(metric), fontsize=10, loc="left", fontweight="bold")
        # Room on the right for the lines' labels.
        axis.set_xlim(1 - 0.02 * num_rounds, num_rounds * 1.12)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=num_ticks))
        axis.set_xlabel("round", loc="left")
        axis.ticklabel_format(axis="y", scilimits=(-3, 4))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(True, color=INK, linewidth=0.6, alpha=0.3)
    return figure, axes


def fit_share(axis: Axes, metric: str) -> None:
    """Draw the whole axis of a share, 0 to 1, or where curves use little of it that part alone."""
    if metric != "accuracy":
        return
    low, high = axis.dataLim.intervaly
    is_small = low > 0 and 0 < high - low < _MUCH
    room = max(0.1 * (high - low), 0.005)
    limits = (max(0.0, low - room), min(1.0 + room / 4, high + room))
    axis.set_ylim(*(limits if is_small else (0, 1.02)))


def label_ends(axis: Axes, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Write names at the ends of lines, moved apart where they would overlap.

    labels: for each name where its line ends, and its colour
    """
    axis.get_ylim()  # brings the scale up to date
    places = [float(axis.transData.transform((x, y))[1]) for _, x, y, _ in labels]
    step = _LABEL_HEIGHT * axis.figure.dpi / 72
    heights = apart(sorted(places), step)
    for i in range(len(heights)):  # none below the axis, where the rounds stand
        heights[i] = max(heights[i], axis.bbox.y0 + (i + 0.5) * step)
    for i, moved in zip(np.argsort(places), heights, strict=True):
        name, x, y, colour = labels[i]
        axis.annotate(
            shortened(name, _MAX_LABEL),
            (x, y),
            (5, (moved - places[i]) * 72 / axis.figure.dpi),
            textcoords="offset points",
            color=colour,
            fontsize=8,
            va="center",
        )


def apart(places: Sequence[float], step: float) -> list[float]:
    """Return rising places moved as little as need be, so that each is a step above the last.

    >>> apart([0.0, 1.0, 9.0], 4.0)
    [-1.5, 2.5, 9.0]
    """
    groups: list[list[float]] = []  # places that touch, each group around its mean
    for place in places:
        groups.append([place])
        while len(groups) > 1 and _top(groups[-2], step) + step > _bottom(groups[-1], step):
            last = groups.pop()
            groups[-1] += last
    return [_bottom(group, step) + i * step for group in groups for i in range(len(group))]


def _bottom(group: Sequence[float], step: float) -> float:
    return sum(group) / len(group) - step * (len(group) - 1) / 2


def _top(group: Sequence[float], step: float) -> float:
    return _bottom(group, step) + step * (len(group) - 1)


def draw_line(
    axis: Axes,
    rounds: np.ndarray,
    values: Sequence[float],
    label: str,
    colour: str,
    style: str = "-",
    *,
    width: float = 2.4,
    alpha: float = 1.0,
) -> tuple[float, float] | None:
    """Draw the measured values of a metric, and return where the line ends, if it has any."""
    measured = np.isfinite(np.asarray(values, dtype=float))
    if measured.size:  # a round whose cost is not known has no place
        measured &= np.isfinite(rounds)
    if not measured.any():
        return None
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
        alpha=alpha,
    )
    return float(x[-1]), float(y[-1])
