"""The chart of a split: how rows are divided among parties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fusion_nb.reporting.charts.chart import WIDTH, Chart, own_settings
from fusion_nb.reporting.charts.drawing import COLOURS, drawn_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: More parties than this have no numbers in the heat map of a split.
_MAX_NUMBERS = 20
#: More labels than this are not drawn: they are hardly classes, and nobody could read them.
_MAX_CLASSES = 40


@own_settings()
def split(
    counts: Mapping[str, Mapping[int, int]],
    sizes: Mapping[str, int],
    class_names: Mapping[int, str],
) -> Chart:
    """Draw how rows are divided: a heat map of parties by classes, and the rows of each party.

    counts: per party, rows of each class (empty where labels are measurements)
    sizes:  per party, its rows
    """
    from matplotlib.figure import Figure

    parties, classes = list(sizes), sorted({label for row in counts.values() for label in row})
    if len(classes) > _MAX_CLASSES:
        classes = []
    height = min(1.2 + 0.28 * len(parties), 9.0)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    ratios = {"width_ratios": [3, 1]} if classes else {"width_ratios": [1]}
    axes = figure.subplots(1, 2 if classes else 1, squeeze=False, sharey=True, gridspec_kw=ratios)[
        0
    ]
    if classes:
        table = np.array([[counts[party].get(label, 0) for label in classes] for party in parties])
        _heat_map(
            axes[0], table, [drawn_name(class_names.get(label, str(label))) for label in classes]
        )
    bars = axes[-1]
    bars.barh(range(len(parties)), [sizes[party] for party in parties], color=COLOURS[0])
    bars.set_title("rows of each party", fontsize=10, loc="left")
    bars.spines[["top", "right"]].set_visible(False)
    step = math.ceil(len(parties) / 30)
    axes[0].set_yticks(
        range(0, len(parties), step), [drawn_name(party) for party in parties[::step]]
    )
    if not classes:
        bars.invert_yaxis()
    smallest, largest = min(sizes.values()), max(sizes.values())
    alt = f"{len(parties)} parties with {smallest} to {largest} rows each"
    return Chart(figure, f"{alt}, and {len(classes)} classes" if classes else alt)


def _heat_map(axis: Axes, table: np.ndarray, class_names: Sequence[str]) -> None:
    """Draw parties by classes, with the number of rows in each cell where there is room."""
    axis.imshow(table, cmap="Blues", aspect="auto", vmin=0, interpolation="nearest")
    rotation = 30 if max(map(len, class_names)) > 5 else 0
    axis.set_xticks(range(len(class_names)), class_names, rotation=rotation)
    axis.set_title("rows of each class", fontsize=10, loc="left")
    if table.size > _MAX_NUMBERS**2 or len(table) > _MAX_NUMBERS:
        return
    for (i, j), value in np.ndenumerate(table):
        ink = "white" if value > table.max() / 2 else "black"
        axis.text(j, i, str(value), ha="center", va="center", fontsize=8, color=ink)
