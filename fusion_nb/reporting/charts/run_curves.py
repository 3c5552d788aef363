"""The chart of one run: its curves, its baselines and its parties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fusion_nb.core.history import History
from fusion_nb.reporting.charts import costs
from fusion_nb.reporting.charts.chart import INK, Chart, own_settings
from fusion_nb.reporting.charts.drawing import (
    COLOURS,
    PARTY_COLOURS,
    draw_line,
    drawn_name,
    fit_share,
    label_ends,
    metric_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: The models that the fused one is compared with: prefix of their metrics -> label, colour, dash.
COMPARED = {
    "central_": ("one model with all rows", INK, "-."),
    "alone_": ("parties alone, on average", COLOURS[1], ":"),
    "personal_": ("parties' own models, on average", COLOURS[2], "--"),
}
#: More parties than this are drawn as a band in place of one line each, and up to the
#: second number have their names at the lines' ends.
_MAX_LINES, _MAX_NAMES = 10, 6
#: Rows of the labels of changes, the size of their letters, and points beside them.
_CHANGE_ROWS, _CHANGE_SIZE, _CHANGE_GAP = 3, 7, 2


@own_settings()
def curves(
    history: History, metrics: Sequence[str], num_rounds: int = 0, *, against: str = "round"
) -> Chart:
    """Draw one run: a panel for each metric, the fused model solid, each party's model thin and
    dashed.

    Baselines are drawn too. Where parties did not send weights in every round, ticks mark the
    rounds in which they did.
    metrics:    two metrics of the fused model, such as ("loss", "accuracy")
    num_rounds: planned rounds; the horizontal axis has room for them, as far as the curve stays
                readable
    against:    round, time (simulated) or epsilon: what the rounds are drawn at
    """
    # Fixed margins: nothing moves from one picture to the next, and a layout engine would take as
    # long as the rest of the drawing.
    figure, axes = metric_axes(metrics, _room(len(history), num_rounds), layout=None)
    costs.check_against(history, against)
    rounds = np.array(costs.places(history, against))
    places = {record.round: place for record, place in zip(history, rounds.tolist(), strict=True)}
    if against != "round":
        costs.measure(axes, against, float(np.nanmax(rounds)))
    told = (record.party_metrics.items() for record in history)
    parties = sorted({party for of_round in told for party, metrics_of in of_round if metrics_of})
    known = history.metrics()
    compared = [start for start in COMPARED if any(name.startswith(start) for name in known)]
    figure.subplots_adjust(
        left=0.06, right=0.985, bottom=0.24, top=0.82 if compared else 0.88, wspace=0.16
    )
    for axis, metric in zip(axes, metrics, strict=True):
        own = [history.party(party, f"local_{metric}") for party in parties]
        ends = _parties(axis, rounds, parties, np.array(own, dtype=float), is_beside=bool(compared))
        for start in compared:
            label, colour, dash = COMPARED[start]
            values = history[start + metric] if start + metric in known else []
            draw_line(axis, rounds, values, label, colour, dash, width=1.8)
        values = history[metric] if metric in known else []
        end = draw_line(axis, rounds, values, "fused", COLOURS[0])
        fit_share(axis, metric)
        if not compared and end is not None:  # or the legend names it
            ends.append(("fused", *end, COLOURS[0]))
        label_ends(axis, ends)
        _synchronisations(axis, history, places)
        _changes(axis, history, places, 0.5 if against == "round" else 0.0)
    if compared:
        figure.legend(
            *axes[-1].get_legend_handles_labels(),
            loc="upper right",
            ncols=4,
            frameon=False,
            fontsize=8,
        )
    # Drawn even without a round, so that nothing moves when the first one arrives.
    figure.supxlabel(_caption(history, len(parties)), fontsize=8)
    return Chart(figure, described(history, metrics, against))


def _caption(history: History, num_parties: int) -> str:
    """Return what the lines of the parties and the ticks mean."""
    lines = "dashed: each party's model before fusion, on its own test rows"
    if num_parties > _MAX_LINES:
        lines = (
            "grey: the parties' models before fusion, on their own test rows (dashed: the "
            "median; band: 80 % of them)"
        )
    parts = [lines] if num_parties or not history else []
    parts += ["ticks: rounds in which weights travelled"] if _is_sparing(history) else []
    return "; ".join(parts)


def _room(done: int, planned: int) -> int:
    """Return how many rounds the axis shows: the planned ones, or for a long run a number that
    doubles whenever it is reached.
    """
    room = 20
    while room < done:
        room *= 2
    return max(2, done, min(planned, room))


def _is_sparing(history: History) -> bool:
    """Return whether some party trained in some round and sent no weights."""
    return any(record.silent for record in history)


def _synchronisations(axis: Axes, history: History, places: Mapping[int, float]) -> None:
    """Mark the rounds in which weights travelled, unless they did in every round."""
    if _is_sparing(history):
        rounds = [places[record.round] for record in history if record.synchronised]
        axis.vlines(rounds, 0, 0.04, transform=axis.get_xaxis_transform(), color=INK, linewidth=0.9)


def _changes(axis: Axes, history: History, places: Mapping[int, float], before: float) -> None:
    """Mark the rounds from which an option had another value.

    Labels stay inside of the axis, and stand in rows where they would lie over each other.
    """
    from matplotlib.textpath import TextPath

    axis.get_xlim()  # brings the scale up to date
    points = 72 / axis.figure.dpi
    end = axis.bbox.x1 * points
    free = [-math.inf] * _CHANGE_ROWS  # where each row has room again, in points
    for record in history:
        if not record.changes:
            continue
        text = drawn_name(", ".join(f"{name} {value}" for name, value in record.changes.items()))
        where = places[record.round] - before
        axis.axvline(where, color=INK, linewidth=0.9, linestyle=(0, (1, 2)))
        width = TextPath((0, 0), text, size=_CHANGE_SIZE).get_extents().width
        at = float(axis.transData.transform((where, 0))[0]) * points
        is_left = at + _CHANGE_GAP + width > end
        begin = at - _CHANGE_GAP - width if is_left else at + _CHANGE_GAP
        row = next((i for i, place in enumerate(free) if begin >= place), None)
        if row is None:
            continue
        free[row] = begin + width + 2 * _CHANGE_GAP
        axis.annotate(
            text,
            (where, 1),
            (-_CHANGE_GAP if is_left else _CHANGE_GAP, -2 - row * (_CHANGE_SIZE + 2)),
            xycoords=axis.get_xaxis_transform(),
            textcoords="offset points",
            fontsize=_CHANGE_SIZE,
            color=INK,
            ha="right" if is_left else "left",
            va="top",
        )


def _parties(
    axis: Axes, rounds: np.ndarray, names: Sequence[str], values: np.ndarray, *, is_beside: bool
) -> list[tuple[str, float, float, str]]:
    """Draw the parties' lines, or the band that holds the middle 80 % of them.

    is_beside: draw lines fainter, since others are compared
    Return the names to stand at the lines' ends: the name, the place and the colour.
    """
    if not values.size or not np.isfinite(values).any():
        return []
    if len(values) > _MAX_LINES:
        seen = np.isfinite(values).any(axis=0)
        low, middle, high = np.nanpercentile(values[:, seen], (10, 50, 90), axis=0)
        axis.fill_between(rounds[seen], low, high, color=INK, alpha=0.25, linewidth=0)
        axis.plot(rounds[seen], middle, color=INK, linewidth=0.9, linestyle="--")
        return []
    ends = []
    for i, (name, party) in enumerate(zip(names, values, strict=True)):
        colour = PARTY_COLOURS[i % len(PARTY_COLOURS)]
        alpha = 0.5 if is_beside else 0.8
        end = draw_line(axis, rounds, party, f"_{name}", colour, "--", width=1.0, alpha=alpha)
        if end is not None and len(values) <= _MAX_NAMES:
            ends.append((name, *end, colour))
    return ends


def described(history: History, metrics: Sequence[str], against: str = "round") -> str:
    """Return the curves as a sentence: `Loss from 2.30 to 0.41 and accuracy ... over 10 rounds`.

    against: what they are drawn at, which is told where it is a cost
    """
    parts: list[str] = []
    compared: list[str] = []
    for metric in metrics:
        values = [
            v for v in (history[metric] if metric in history.metrics() else []) if math.isfinite(v)
        ]
        if values:
            parts.append(f"{metric} from {values[0]:.3g} to {values[-1]:.3g}")
    last = history.last()
    for start, (label, _, _) in COMPARED.items():
        ends = [
            f"{metric} {last[start + metric]:.3g}" for metric in metrics if start + metric in last
        ]
        compared += [f"; {label}: {' and '.join(ends)}"] if ends else []
    text = " and ".join(parts) or "no round is whole yet"
    word = "round" if len(history) == 1 else "rounds"
    return (
        f"{text[0].upper()}{text[1:]} over {len(history)} {word}{costs.told(history, against)}"
        f"{''.join(compared)}"
        if parts
        else text.capitalize()
    )
