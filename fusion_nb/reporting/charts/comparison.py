"""The chart of several runs, over each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fusion_nb.core.history import History
from fusion_nb.reporting.charts import costs
from fusion_nb.reporting.charts.chart import Chart, own_settings
from fusion_nb.reporting.charts.drawing import (
    COLOURS,
    draw_line,
    drawn_name,
    fit_share,
    metric_axes,
)
from fusion_nb.reporting.charts.run_curves import described
from fusion_nb.reporting.templates import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@own_settings()
def compare(histories: Mapping[str, History], metrics: Sequence[str]) -> Chart:
    """Draw the fused models of several runs over each other, against rounds, and the last metric
    against bytes as well; where all have simulated time, against that too, and where any counts
    epsilon, those that do against that.
    """
    added = _costs_of([history for history in histories.values() if history])
    if added:  # there is no room for more: one metric, against rounds, bytes and the costs
        metrics = metrics[-1:]
    panels = [(metric, "round") for metric in metrics]
    panels += [(metrics[-1], against) for against in ("bytes", *added)]
    num_rounds = max([2, *(len(history) for history in histories.values())])
    figure, axes = metric_axes([metric for metric, _ in panels], num_rounds, "constrained")
    for axis, (metric, against) in zip(axes, panels, strict=True):
        _draw(axis, histories, metric, against)
        fit_share(axis, metric)
        _measure(axis, histories, against)
    # A legend and not labels at the ends, which would overlap where curves are close.
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    return Chart(
        figure,
        "; ".join(
            f"{visible(name)}: {described(history, metrics)}"
            f"{''.join(costs.told(history, cost) for cost in added)}"
            for name, history in histories.items()
        ),
    )


def _costs_of(histories: Sequence[History]) -> list[str]:
    """Return the costs, besides bytes, that runs are drawn against."""
    added = ["time"] if histories and all(costs.has(each, "time") for each in histories) else []
    return added + (["epsilon"] if any(costs.has(each, "epsilon") for each in histories) else [])


def _draw(axis: Axes, histories: Mapping[str, History], metric: str, against: str) -> None:
    """Draw a metric of each run against rounds, bytes, or a cost where the run has it."""
    for i, (name, history) in enumerate(histories.items()):
        values = history[metric] if metric in history.metrics() else []
        # After four runs the colours repeat, with another dash.
        style = ("-", "--", ":", "-.")[i // len(COLOURS) % 4]
        colour = COLOURS[i % len(COLOURS)]
        draw_line(axis, _places(history, against), values, drawn_name(name), colour, style)


def _places(history: History, against: str) -> np.ndarray:
    """Return where each round stands on the axis; NaN where its cost is not known."""
    if against == "bytes":
        return np.array(history.bytes_sent()) / 1e6
    return np.array(costs.places(history, against) or [math.nan] * len(history))


def _measure(axis: Axes, histories: Mapping[str, History], against: str) -> None:
    """Scale the horizontal axis in bytes or a cost; in rounds it is scaled already."""
    whole = [history for history in histories.values() if history]
    if against == "bytes":
        _measure_in_bytes(axis, [history.bytes_sent()[-1] for history in whole])
    elif against != "round":
        measured = [each for each in whole if costs.has(each, against)]
        last = max(np.nanmax(costs.places(each, against)) for each in measured)
        costs.measure([axis], against, float(last))


def _measure_in_bytes(axis: Axes, totals: Sequence[int]) -> None:
    """Scale the horizontal axis in megabytes, logarithmically where runs differ too much."""
    from matplotlib.ticker import AutoLocator, LogFormatter

    axis.set_xlabel("MB sent, up and down", loc="left")
    axis.xaxis.set_major_locator(AutoLocator())
    if totals and max(totals) > 8 * max(1, min(totals)):
        axis.set_xscale("log")
        # The usual one writes powers of ten as mathematics.
        axis.xaxis.set_major_formatter(LogFormatter())
        axis.xaxis.set_minor_formatter(LogFormatter())
    axis.autoscale(axis="x")
