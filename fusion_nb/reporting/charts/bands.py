"""The charts of an experiment: means over seeds with bands, and a small chart for each setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fusion_nb.reporting.charts.chart import INK, WIDTH, Chart, own_settings
from fusion_nb.reporting.charts.drawing import COLOURS, drawn_name, fit_share, metric_axes
from fusion_nb.reporting.templates import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Curves in one chart, at most: more can't be told apart.
MAX_CURVES = 16
#: Small charts in a picture, in a row, and inches of one row.
_MAX_SMALL, _IN_ROW, _ROW_HEIGHT = 24, 4, 1.7


@dataclass(frozen=True)
class Curve:
    """The mean of one setting over its seeds.

    label:  the setting;  runs: the number of its seeds;  x: where each round stands
    values: metric -> (mean, low, high) after each round, NaN where there is none
    """

    label: str
    runs: int
    x: Sequence[float]
    values: Mapping[str, Sequence[tuple[float, float, float]]]

    def described(self, metrics: Sequence[str]) -> str:
        """Return the curve as a sentence."""
        parts = []
        for metric in metrics:
            found = [mean for mean, _, _ in self.values.get(metric, ()) if math.isfinite(mean)]
            if found:
                parts.append(f"{metric} from {found[0]:.3g} to {found[-1]:.3g}")
        seeds = "1 seed" if self.runs == 1 else f"{self.runs} seeds"
        return f"{visible(self.label)}: {' and '.join(parts) or 'no value'}, {seeds}"


@own_settings()
def bands(curves: Sequence[Curve], metrics: Sequence[str], axis_name: str, band: str) -> Chart:
    """Draw the means of several settings over each other, each with its band.

    axis_name: what they are drawn against;  band: how a band is made, which the picture says
    """
    from matplotlib.ticker import MaxNLocator

    shown = curves[:MAX_CURVES]
    num_rounds = max([2, *(len(curve.x) for curve in shown)])
    figure, axes = metric_axes(metrics, num_rounds, "constrained")
    figure.set_figheight(figure.get_figheight() + 0.2 * math.ceil(len(shown) / 3))
    for i, curve in enumerate(shown):
        style = ("-", "--", ":", "-.")[i // len(COLOURS) % 4]
        for axis, metric in zip(axes, metrics, strict=True):
            _draw(axis, curve, metric, COLOURS[i % len(COLOURS)], style)
    for axis, metric in zip(axes, metrics, strict=True):
        axis.set_xlabel(axis_name, loc="left")
        if axis_name != "round":
            axis.autoscale(axis="x")
            axis.xaxis.set_major_locator(MaxNLocator(5))
        fit_share(axis, metric)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=3,
        frameon=False,
        fontsize=9,
    )
    figure.suptitle(band, fontsize=8, x=0.995, ha="right", color=INK)
    left = len(curves) - len(shown)
    note = f"{left} more settings are not drawn" if left else ""
    return Chart(figure, "; ".join(curve.described(metrics) for curve in shown), note)


@own_settings()
def multiples(curves: Sequence[Curve], metric: str, axis_name: str, band: str) -> Chart:
    """Draw a small chart for each setting, all with the same axes."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    shown = curves[:_MAX_SMALL]
    in_row = min(_IN_ROW, len(shown))
    num_rows = math.ceil(len(shown) / in_row)
    size = (WIDTH, max(2.4, _ROW_HEIGHT * num_rows + 0.5))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(num_rows, in_row, sharex=True, sharey=True, squeeze=False).ravel()
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis, curve in zip(axes, shown, strict=False):
        for other in shown:  # the others in grey, to compare with
            _draw(axis, other, metric, INK, "-", width=0.6, alpha=0.35, with_band=False)
        _draw(axis, curve, metric, COLOURS[0], "-")
        axis.set_title(drawn_name(curve.label), fontsize=8, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=axis_name == "round"))
    figure.supxlabel(axis_name, fontsize=8)
    figure.supylabel(drawn_name(metric), fontsize=8)
    figure.suptitle(band, fontsize=8, x=0.995, ha="right", color=INK)
    left = len(curves) - len(shown)
    note = f"{left} more settings are not drawn" if left else ""
    return Chart(figure, "; ".join(curve.described([metric]) for curve in shown), note)


def _draw(
    axis: Axes,
    curve: Curve,
    metric: str,
    colour: str,
    style: str,
    *,
    width: float = 2.0,
    alpha: float = 1.0,
    with_band: bool = True,
) -> None:
    found = np.asarray(curve.values.get(metric, ()), dtype=float).reshape(-1, 3)
    x = np.asarray(curve.x, dtype=float)[: len(found)]
    measured = np.isfinite(found[:, 0]) & np.isfinite(x)
    x, (mean, low, high) = x[measured], found[measured].T
    if not len(x):
        return
    axis.plot(
        x,
        mean,
        color=colour,
        linestyle=style,
        linewidth=width,
        alpha=alpha,
        marker="o" if len(x) < 3 else None,
        markersize=3,
        label=drawn_name(curve.label),
    )
    spread = np.isfinite(low)
    if with_band and spread.any():
        axis.fill_between(
            x[spread], low[spread], high[spread], color=colour, alpha=0.18, linewidth=0
        )
