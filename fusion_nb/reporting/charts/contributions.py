"""The charts of what parties contribute: bars for each party, and the cross-site matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fusion_nb.core.history import is_higher_better
from fusion_nb.reporting.charts.chart import INK, WIDTH, Chart, own_settings
from fusion_nb.reporting.charts.drawing import COLOURS, drawn_name
from fusion_nb.reporting.formatting import number
from fusion_nb.reporting.templates import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: A value with the ends of its interval; three times the same number where it has none.
Interval = tuple[float, float, float]
#: Parties that are drawn at most, of those that train and of those that never did: of more, the
#: best and the worst.
_MOST, _MOST_UNSEEN = 12, 6
#: More parties than this have no numbers in the cross-site matrix, and than this not all names.
_MAX_NUMBERS, _MAX_NAMES = 12, 30
#: The colours of a model's metric, of parties that never trained, of values above and below 0.
_OWN, _UNSEEN, _ABOVE, _BELOW = COLOURS[0], COLOURS[3], COLOURS[2], COLOURS[1]
#: Heights of a row, in rows: between the best and the worst, and before those that never trained.
_GAP = 0.6


@dataclass(frozen=True)
class _Rows:
    """The parties of a chart from top to bottom, and where each stands.

    places: party -> its height;  num_seen: those of them that train;  notes: who is left out
    """

    places: Mapping[str, float]
    num_seen: int
    notes: Sequence[str]

    @classmethod
    def of(
        cls, order: Mapping[str, float], unseen: Mapping[str, float], by: str, metric: str
    ) -> _Rows:
        """Return the rows of parties in falling order of a value, those that never trained last."""
        sign = 1 if is_higher_better(metric) else -1
        told = ("parties", "parties that never trained")
        groups = (
            (_ordered(order), _MOST, f"{told[0]} by {by}"),
            (_ordered({p: sign * value for p, value in unseen.items()}), _MOST_UNSEEN, told[1]),
        )
        places, notes, top, num_seen = {}, [], 0.0, 0
        for parties, most, word in groups:
            shown = parties
            if len(parties) > most:
                shown = parties[: most - most // 2] + parties[-(most // 2) :]
                notes.append(
                    f"the best {most - most // 2} and the worst {most // 2} of "
                    f"{len(parties)} {word}"
                )
            for i, party in enumerate(shown):
                top += _GAP if len(parties) > most and i == most - most // 2 else 0.0
                places[party] = top
                top += 1.0
            num_seen = num_seen or len(shown)
            top += _GAP
        return cls(places, num_seen, notes)

    @property
    def height(self) -> float:
        """The height of all rows."""
        return max(self.places.values(), default=0.0) + 1.0


@own_settings()
def contributions(
    title: str,
    own: tuple[str, str, Mapping[str, float]],
    unseen: Mapping[str, float],
    values: Mapping[str, Mapping[str, Interval]],
) -> Chart:
    """Draw a bar for each party: how good its model is for it, and its contribution by methods.

    title:  one line, with the cost of what was measured
    own:    the name of the first column, its metric, and the value of each party that trains
    unseen: the same metric of the parties that never trained, which stand at the end
    values: method -> party -> its value with the interval, positive where it makes the model better
    Of many parties the best and the worst are drawn, by the first method or else by the metric.
    """
    from matplotlib.figure import Figure

    first, metric, of_parties = own
    by, order = _order(first, metric, of_parties, values)
    rows = _Rows.of(order, unseen, by, metric)
    figure = Figure(figsize=(WIDTH, 1.15 + 0.27 * rows.height), layout="constrained")
    has_own = bool(of_parties or unseen)
    num_columns = has_own + len(values)
    axes = list(figure.subplots(1, num_columns, squeeze=False, sharey=True)[0])
    if has_own:
        _draw_own(axes[0], first, {**of_parties, **unseen}, rows)
    for axis, (method, found) in zip(axes[has_own:], values.items(), strict=True):
        _draw_values(axis, method, found, rows)
    names = [
        drawn_name(party) + ("" if i < rows.num_seen else " (never trained)")
        for i, party in enumerate(rows.places)
    ]
    axes[0].set_yticks([*rows.places.values()], names, fontsize=9)
    axes[0].set_ylim(rows.height - 0.4, -0.6)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left", fontweight="bold")
    return Chart(figure, _sentence(title, by, order, unseen), "; ".join(rows.notes))


@own_settings()
def cross_site(title: str, metric: str, matrix: Mapping[str, Mapping[str, float]]) -> Chart:
    """Draw the cross-site matrix: each party's model, trained alone, on the rows of each party.

    matrix: party whose model it is -> party whose rows they are -> the metric; darker is better
    """
    from matplotlib.figure import Figure

    down = list(matrix)
    across = list(dict.fromkeys(party for row in matrix.values() for party in row))
    table = np.array([[matrix[row].get(column, math.nan) for column in across] for row in down])
    figure = Figure(
        figsize=(WIDTH, min(max(2.6, 1.4 + 0.3 * len(down)), 8.0)), layout="constrained"
    )
    axis = figure.subplots()
    colours = "Blues" if is_higher_better(metric) else "Blues_r"
    image = axis.imshow(table, cmap=colours, aspect="auto", interpolation="nearest")
    step = -(-max(len(down), len(across)) // _MAX_NAMES)
    named = [drawn_name(party) for party in across[::step]]
    rotation = 30 if sum(map(len, named)) > 70 else 0
    axis.set_xticks(range(0, len(across), step), named, rotation=rotation, fontsize=9)
    axis.set_yticks(
        range(0, len(down), step), [drawn_name(party) for party in down[::step]], fontsize=9
    )
    axis.set_xlabel("test rows of", loc="left", fontsize=9)
    axis.set_ylabel("model of, trained alone", fontsize=9)
    axis.set_title(title, fontsize=10, loc="left", fontweight="bold")
    bar = figure.colorbar(image, shrink=0.8)
    bar.set_label(drawn_name(metric), fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if max(len(down), len(across)) <= _MAX_NUMBERS:
        _write_numbers(axis, table, is_dark_high=is_higher_better(metric))
    return Chart(figure, _matrix_sentence(metric, matrix))


def _ordered(values: Mapping[str, float]) -> list[str]:
    """Return parties in falling order; those without a value come last."""
    return sorted(values, key=lambda party: (math.isnan(values[party]), -values[party]))


def _order(
    first: str,
    metric: str,
    own: Mapping[str, float],
    values: Mapping[str, Mapping[str, Interval]],
) -> tuple[str, dict[str, float]]:
    """Return by what parties are ordered, and a value of each that is higher where it is better."""
    if values:
        method, found = next(iter(values.items()))
        return method, {party: value for party, (value, _, _) in found.items()}
    sign = 1 if is_higher_better(metric) else -1
    return first, {party: sign * value for party, value in own.items()}


def _draw_own(axis: Axes, name: str, values: Mapping[str, float], rows: _Rows) -> None:
    for i, (party, place) in enumerate(rows.places.items()):
        value = values.get(party, math.nan)
        if i < rows.num_seen:
            axis.barh(place, value, 0.7, color=_OWN)
        else:
            axis.barh(place, value, 0.7, color="none", edgecolor=_UNSEEN, hatch="////")
        _label(axis, value, value, place)
    _furnish(axis, name)


def _draw_values(axis: Axes, method: str, values: Mapping[str, Interval], rows: _Rows) -> None:
    is_sampled = False
    for party, place in rows.places.items():
        if party not in values:
            continue
        value, low, high = values[party]
        axis.barh(place, value, 0.7, color=_BELOW if value < 0 else _ABOVE)
        if low != high and math.isfinite(high - low):
            is_sampled = True
            axis.plot((low, high), (place, place), color=INK, linewidth=1.5, marker="|")
        _label(axis, value, high, place)
    axis.axvline(0, color=INK, linewidth=0.8)
    _furnish(axis, f"{method}, 95 % interval" if is_sampled else method)


def _label(axis: Axes, value: float, end: float, place: float) -> None:
    """Write a value to the right of its bar, where neither the bar nor its interval stands."""
    right = max([0.0, *(each for each in (value, end) if math.isfinite(each))])
    text = number(None if math.isnan(value) else value)
    axis.annotate(text, (right, place), (4, 0), textcoords="offset points", fontsize=8, va="center")


def _furnish(axis: Axes, name: str) -> None:
    axis.set_title(drawn_name(name), fontsize=9, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(axis="x", labelsize=8)
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=5)
    axis.set_axisbelow(True)
    axis.grid(True, axis="x", color=INK, linewidth=0.6, alpha=0.3)
    low, high = axis.get_xlim()
    axis.set_xlim(low, high + 0.25 * (high - low))  # room for the numbers


def _write_numbers(axis: Axes, table: np.ndarray, *, is_dark_high: bool) -> None:
    finite = table[np.isfinite(table)]
    middle = (finite.min() + finite.max()) / 2 if finite.size else 0.0
    for (i, j), value in np.ndenumerate(table):
        if math.isfinite(value):
            is_dark = value != middle and (value > middle) == is_dark_high
            ink = "white" if is_dark else "black"
            axis.text(j, i, number(value), ha="center", va="center", fontsize=8, color=ink)


def _sentence(title: str, by: str, order: Mapping[str, float], unseen: Mapping[str, float]) -> str:
    parts = [title]
    known = [party for party in _ordered(order) if not math.isnan(order[party])]
    if len(known) > 1:
        best, worst = known[0], known[-1]
        parts.append(f"by {by} the best party is {visible(best)}, the worst {visible(worst)}")
    if unseen:
        named = [f"{visible(party)} {number(unseen[party])}" for party in [*unseen][:_MOST_UNSEEN]]
        parts.append(f"never trained: {', '.join(named)}")
    return "; ".join(parts)


def _matrix_sentence(metric: str, matrix: Mapping[str, Mapping[str, float]]) -> str:
    own = [row[party] for party, row in matrix.items() if party in row]
    others = [v for party, row in matrix.items() for other, v in row.items() if other != party]
    kinds = {"their own rows": own, "others' rows": others}
    means = [
        f"{number(float(np.nanmean(found)))} on {rows}"
        for rows, found in kinds.items()
        if np.isfinite(found).any()
    ]
    told = f", mean {', '.join(means)}" if means else ""
    return f"Cross-site matrix of {metric}: models of {len(matrix)} parties{told}"
