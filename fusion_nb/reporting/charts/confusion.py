"""The chart of a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_nb.reporting.charts.chart import WIDTH, Chart, own_settings
from fusion_nb.reporting.charts.drawing import drawn_name

#: More classes than this have no numbers in their cells.
_MAX_NUMBERS = 15
#: More classes than this are not named one by one.
_MAX_NAMES = 40


@own_settings()
def confusion(matrix: np.ndarray, classes: Sequence[str], title: str) -> Chart:
    """Draw a confusion matrix: the share of each class's rows that is predicted as each class.

    matrix: counts (classes, classes), labels down and predictions across;  title: one line
    """
    from matplotlib.figure import Figure

    num = len(classes)
    totals = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    height = min(max(3.0, 1.2 + 0.36 * num), 8.0)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(
        shares, cmap="Blues", aspect="auto", vmin=0, vmax=1, interpolation="nearest"
    )
    step = -(-num // _MAX_NAMES)
    names = [drawn_name(name) for name in classes[::step]]
    longest = max(map(len, names), default=0)
    axis.set_xticks(range(0, num, step), names, rotation=30 if longest > 5 else 0)
    axis.set_yticks(range(0, num, step), names)
    axis.set_xlabel("predicted")
    axis.set_ylabel("label")
    axis.set_title(drawn_line(title), fontsize=10, loc="left")
    figure.colorbar(image, label="share of the label's rows", shrink=0.8)
    if num <= _MAX_NUMBERS:
        for (i, j), count in np.ndenumerate(matrix):
            ink = "white" if shares[i, j] > 0.5 else "black"
            axis.text(j, i, str(int(count)), ha="center", va="center", fontsize=8, color=ink)
    found = [f"{name} {shares[i, i]:.0%}" for i, name in enumerate(classes[:_MAX_NUMBERS])]
    return Chart(figure, f"Confusion matrix, {title}; right of each class: {', '.join(found)}")


def drawn_line(text: str) -> str:
    """Return a line that may hold a party's name as matplotlib draws it."""
    return text.replace("\n", " ")
