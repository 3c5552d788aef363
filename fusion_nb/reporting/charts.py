"""Charts of a run and of a split.

They are drawn without pyplot, so that no state is shared with the user's own figures.
"""

from __future__ import annotations

import functools
import io
import math
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from fusion_nb.core.history import History
from fusion_nb.reporting.templates import render, shortened, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours with a contrast of 3:1 on white and on dark; the first is the fused model's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
#: The models that the fused one is compared with: prefix of their metrics -> label, colour, dash.
COMPARED = {
    "central_": ("one model with all rows", "#444444", "-."),
    "alone_": ("parties alone, on average", COLOURS[1], ":"),
    "personal_": ("parties' own models, on average", COLOURS[2], "--"),
}
#: Inches and dots per inch; the same for live and final pictures, or the page would move.
WIDTH, HEIGHT, DPI = 8.4, 3.0, 100
#: More parties than this are drawn as a band in place of one line each.
_MAX_LINES = 10
#: More parties than this have no numbers in the heat map of a split.
_MAX_NUMBERS = 20
#: More labels than this are not drawn: they are hardly classes, and nobody could read them.
_MAX_CLASSES = 40
#: Characters of a name in a chart.
_MAX_NAME = 30
#: Settings of matplotlib's that are not about what a picture looks like.
_NOT_OURS = ("backend", "interactive", "toolbar", "timezone", "date.", "webagg", "tk.", "keymap.")
#: The settings are global: two threads that draw must not restore each other's.
_LOCK = threading.RLock()
_IMAGE = (
    '<img alt="{{ alt }}" width="{{ width }}" style="max-width:100%;height:auto" '
    'src="data:image/png;base64,{{ source }}">'
)


@contextmanager
def _own_settings() -> Iterator[None]:
    """Draw with matplotlib's defaults in place of the user's settings, and names as they are.

    LaTeX for all text, say, fails where it is not installed; and a name may hold dollar signs.
    """
    import matplotlib

    with _LOCK, matplotlib.rc_context(_defaults()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # a name in another script
        warnings.filterwarnings("ignore", "constrained_layout not applied")
        yield


@functools.cache
def _defaults() -> dict[str, Any]:
    import matplotlib

    defaults = matplotlib.rcParamsDefault
    ours = {name: value for name, value in defaults.items() if not name.startswith(_NOT_OURS)}
    return ours | {"text.parse_math": False}


def _label(text: str) -> str:
    """Return a name for a chart. matplotlib hides what begins with an underscore from legends."""
    label = shortened(text, _MAX_NAME)
    return f" {label}" if label.startswith("_") else label


@dataclass
class Chart:
    """A matplotlib Figure with a sentence that describes it; notebooks show both."""

    figure: Figure
    alt: str

    @cached_property
    @_own_settings()
    def png(self) -> bytes:
        """The picture as PNG on opaque white: black ink on a transparent ground vanishes on dark
        themes.
        """
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
        return buffer.getvalue()

    @_own_settings()
    def save(self, path: str | Path) -> None:
        """Write the picture in the format that the file's suffix names (png, svg, pdf)."""
        self.figure.savefig(path, dpi=DPI, facecolor="white")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return {"image/png": self.png, "text/html": image_tag(self), "text/plain": self.alt}


def image_tag(chart: Chart) -> Markup:
    """Return an `<img>` that holds the picture itself, with its description as alt text."""
    import base64

    # Alt text inside a PNG is ignored by every front end.
    source = base64.b64encode(chart.png).decode()
    return render(_IMAGE, alt=chart.alt, width=round(WIDTH * DPI), source=source)


@_own_settings()
def curves(history: History, metrics: Sequence[str], num_rounds: int = 0) -> Chart:
    """Draw one run: a panel for each metric, the fused model solid, each party's model thin and
    dashed.

    Baselines are drawn too. Where parties did not send weights in every round, ticks mark the
    rounds in which they did.
    metrics:    two metrics of the fused model, such as ("loss", "accuracy")
    num_rounds: planned rounds; the horizontal axis has room for them, as far as the curve stays
                readable
    """
    # Fixed margins: nothing moves from one picture to the next, and a layout engine would take as
    # long as the rest of the drawing.
    figure, axes = _panels(metrics, _room(len(history), num_rounds), layout=None)
    rounds = np.array([record.round for record in history])
    parties = sorted({party for record in history for party in record.party_metrics})
    known = history.metrics()
    compared = [start for start in COMPARED if any(name.startswith(start) for name in known)]
    figure.subplots_adjust(
        left=0.06, right=0.985, bottom=0.24, top=0.82 if compared else 0.88, wspace=0.16
    )
    for axis, metric in zip(axes, metrics, strict=True):
        own = [history.party(party, f"local_{metric}") for party in parties]
        _parties(axis, rounds, np.array(own, dtype=float), grey=bool(compared))
        for start in compared:
            label, colour, dash = COMPARED[start]
            values = history[start + metric] if start + metric in known else []
            _line(axis, rounds, values, label, colour, dash, width=1.8, label_end=False)
        values = history[metric] if metric in known else []
        _line(axis, rounds, values, "fused", COLOURS[0], label_end=not compared)
        _synchronisations(axis, history)
        _changes(axis, history)
    if compared:
        figure.legend(
            *axes[-1].get_legend_handles_labels(),
            loc="upper right",
            ncols=4,
            frameon=False,
            fontsize=8,
        )
    # Drawn even without a round, so that nothing moves when the first one arrives.
    figure.supxlabel(_caption(history, len(parties)), fontsize=8, color="#555555")
    return Chart(figure, _alt(history, metrics))


@_own_settings()
def compare(histories: Mapping[str, History], metrics: Sequence[str]) -> Chart:
    """Draw the fused models of several runs over each other, against rounds, and the last metric
    against bytes as well.
    """
    num_rounds = max([2, *(len(history) for history in histories.values())])
    figure, axes = _panels([*metrics, metrics[-1]], num_rounds, "constrained")
    *by_round, by_bytes = axes
    for i, (name, history) in enumerate(histories.items()):
        rounds = np.array([record.round for record in history])
        sent = np.array(history.bytes_sent()) / 1e6
        # After four runs the colours repeat, with another dash.
        style = ("-", "--", ":", "-.")[i // len(COLOURS) % 4]
        panels = [(axis, metric, rounds) for axis, metric in zip(by_round, metrics, strict=True)]
        for axis, metric, x in [*panels, (by_bytes, metrics[-1], sent)]:
            values = history[metric] if metric in history.metrics() else []
            _line(axis, x, values, _label(name), COLOURS[i % len(COLOURS)], style, label_end=False)
    _measure_in_bytes(
        by_bytes, [history.bytes_sent()[-1] for history in histories.values() if history]
    )
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
            f"{visible(name)}: {_alt(history, metrics)}" for name, history in histories.items()
        ),
    )


@_own_settings()
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
        _heat_map(axes[0], table, [_label(class_names.get(label, str(label))) for label in classes])
    bars = axes[-1]
    bars.barh(range(len(parties)), [sizes[party] for party in parties], color=COLOURS[0])
    bars.set_title("rows of each party", fontsize=10, loc="left")
    bars.spines[["top", "right"]].set_visible(False)
    step = math.ceil(len(parties) / 30)
    axes[0].set_yticks(range(0, len(parties), step), [_label(party) for party in parties[::step]])
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


def _caption(history: History, num_parties: int) -> str:
    """Return what the lines of the parties and the ticks mean."""
    caption = "dashed: each party's model before fusion, on its own test rows"
    if num_parties > _MAX_LINES:
        caption = (
            "grey: the parties' models before fusion, on their own test rows (dashed: the "
            "median; band: 80 % of them)"
        )
    if _is_sparing(history):
        caption += "; ticks: rounds in which weights travelled"
    return caption


def _room(done: int, planned: int) -> int:
    """Return how many rounds the axis shows: the planned ones, or for a long run a number that
    doubles whenever it is reached.
    """
    room = 20
    while room < done:
        room *= 2
    return max(2, done, min(planned, room))


def _panels(metrics: Sequence[str], num_rounds: int, layout: Any) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(WIDTH, HEIGHT), layout=layout)
    axes = figure.subplots(1, len(metrics))
    for axis, metric in zip(axes, metrics, strict=True):
        axis.set_title(_label(metric), fontsize=10, loc="left")
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


def _line(
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


def _is_sparing(history: History) -> bool:
    """Return whether some party trained in some round and sent no weights."""
    return any(record.silent for record in history)


def _synchronisations(axis: Axes, history: History) -> None:
    """Mark the rounds in which weights travelled, unless they did in every round."""
    if _is_sparing(history):
        rounds = [record.round for record in history if record.synchronised]
        axis.vlines(
            rounds, 0, 0.04, transform=axis.get_xaxis_transform(), color="#222222", linewidth=0.9
        )


def _changes(axis: Axes, history: History) -> None:
    """Mark the rounds from which an option had another value."""
    for record in history:
        if record.changes:
            text = _label(", ".join(f"{name} {value}" for name, value in record.changes.items()))
            axis.axvline(record.round - 0.5, color="#555555", linewidth=0.9, linestyle=(0, (1, 2)))
            place = axis.get_xaxis_transform()
            axis.annotate(
                text,
                (record.round - 0.5, 1),
                (2, -2),
                xycoords=place,
                textcoords="offset points",
                fontsize=7,
                color="#555555",
                va="top",
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


def _parties(axis: Axes, rounds: np.ndarray, values: np.ndarray, *, grey: bool = False) -> None:
    """Draw the parties' lines, or the band that holds the middle 80 % of them.

    grey: draw lines in grey, since others use the colours
    """
    if not values.size or not np.isfinite(values).any():
        return
    if len(values) > _MAX_LINES:
        seen = np.isfinite(values).any(axis=0)
        low, middle, high = np.nanpercentile(values[:, seen], (10, 50, 90), axis=0)
        axis.fill_between(rounds[seen], low, high, color="#777777", alpha=0.25, linewidth=0)
        axis.plot(rounds[seen], middle, color="#777777", linewidth=0.9, linestyle="--")
        return
    for i, party in enumerate(values):
        measured = np.isfinite(party)
        colour = "#999999" if grey else COLOURS[1 + i % (len(COLOURS) - 1)]
        axis.plot(
            rounds[measured],
            party[measured],
            color=colour,
            linewidth=0.9,
            linestyle="--",
            alpha=0.75,
        )


def _alt(history: History, metrics: Sequence[str]) -> str:
    """Return the curves as a sentence: `Loss from 2.30 to 0.41 and accuracy ... over 10 rounds`."""
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
    return (
        f"{text[0].upper()}{text[1:]} over {len(history)} rounds{''.join(compared)}"
        if parts
        else text.capitalize()
    )
