"""The chart of several runs, over each other."""

from __future__ import annotations

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
    num_rounds = max([2, *(len(history) for history in histories.values())])
    whole = [history for history in histories.values() if history]
    added = ["time"] if whole and all(costs.has(history, "time") for history in whole) else []
    added += ["epsilon"] if any(costs.has(history, "epsilon") for history in whole) else []
    if added:  # there is no room for more: one metric, against rounds, bytes and the costs
        metrics = metrics[-1:]
    panels = [*metrics, *[metrics[-1]] * (1 + len(added))]
    figure, axes = metric_axes(panels, num_rounds, "constrained")
    by_round, by_bytes = axes[: len(metrics)], axes[len(metrics)]
    for i, (name, history) in enumerate(histories.items()):
        rounds = np.array([record.round for record in history])
        sent = np.array(history.bytes_sent()) / 1e6
        # After four runs the colours repeat, with another dash.
        style = ("-", "--", ":", "-.")[i // len(COLOURS) % 4]
        lines = [(axis, metric, rounds) for axis, metric in zip(by_round, metrics, strict=True)]
        lines.append((by_bytes, metrics[-1], sent))
        for axis, cost in zip(axes[len(metrics) + 1 :], added, strict=True):
            if costs.has(history, cost):
                lines.append((axis, metrics[-1], np.array(costs.places(history, cost))))
        for axis, metric, x in lines:
            values = history[metric] if metric in history.metrics() else []
            draw_line(axis, x, values, drawn_name(name), COLOURS[i % len(COLOURS)], style)
    for axis, metric in zip(axes, panels, strict=True):
        fit_share(axis, metric)
    _measure_in_bytes(
        by_bytes, [history.bytes_sent()[-1] for history in histories.values() if history]
    )
    for axis, cost in zip(axes[len(metrics) + 1 :], added, strict=True):
        last = max(np.nanmax(costs.places(h, cost)) for h in whole if costs.has(h, cost))
        costs.measure([axis], cost, float(last))
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
