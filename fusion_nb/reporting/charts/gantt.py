"""The picture of one round on its clock: who trained, who waited, who was late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fusion_nb.core.clock.pace import SECONDS
from fusion_nb.core.clock.trips import Trip
from fusion_nb.core.types import RoundRecord
from fusion_nb.reporting.charts.chart import INK, WIDTH, Chart, own_settings
from fusion_nb.reporting.charts.drawing import COLOURS, drawn_name
from fusion_nb.reporting.templates import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Parties that are drawn at most; of more, evenly chosen ones from the fastest to the slowest.
_MOST = 30
#: The parts of a trip in order: the label, the colour, and how opaque it is.
_PARTS = (
    ("asleep", INK, 0.25),
    ("receives", COLOURS[2], 1.0),
    ("trains", COLOURS[0], 1.0),
    ("sends", COLOURS[3], 1.0),
)


@own_settings()
def gantt(record: RoundRecord) -> Chart:
    """Draw the trips of a round as bars, the fastest party on top.

    Time runs from the first question, and a line marks the end of the round. In real time it is not
    known how long a party received and sent: that is in its training.
    """
    from matplotlib.figure import Figure

    trips = record.trips
    begin = min(trip.asked for trip in trips.values())
    clock = "simulated" if SECONDS in record.metrics else "real"
    end = record.metrics.get(SECONDS, max(trip.end for trip in trips.values())) - begin
    failed = {f.party: _word(f.error) for f in record.failures if f.party in trips}
    shown = _chosen(trips)
    is_together = len({trip.asked for trip in trips.values()}) == 1
    waiting = "waits for others" if is_together else "its update waits"
    unit, per = _unit(max(end, *(trip.end - begin for trip in trips.values())))
    figure = Figure(figsize=(WIDTH, min(1.3 + 0.2 * len(shown), 7.5)), layout="constrained")
    axis = figure.subplots()
    for place, party in enumerate(shown):
        trip, is_late = trips[party], party in failed
        left = _draw_trip(axis, place, trip, (begin, per), is_late=is_late)
        if not is_late and end / per > left:
            wait = end / per - left
            axis.barh(place, wait, 0.12, left, color=INK, alpha=0.6, label=waiting)
    axis.axvline(end / per, color=COLOURS[1], linewidth=1.5)
    axis.annotate(
        f"end of round {record.round}",
        (end / per, 0),
        (-3, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=COLOURS[1],
    )
    names = [f"{drawn_name(p)} ({failed[p]})" if p in failed else drawn_name(p) for p in shown]
    axis.set_yticks(range(len(shown)), names, fontsize=8)
    axis.set_ylim(len(shown) + 0.6, -0.7)
    axis.set_xlim(0, None)
    axis.set_xlabel(f"{clock} {unit} since the first was asked", loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_axisbelow(True)
    axis.grid(True, axis="x", color=INK, linewidth=0.6, alpha=0.3)
    handles, labels = axis.get_legend_handles_labels()
    # The first bar with a label is that of the fastest party, which is seldom late.
    known = dict(zip(labels[::-1], handles[::-1], strict=True))
    known = {label: known[label] for label in sorted(known, key=labels.index)}
    figure.legend(
        known.values(),
        known.keys(),
        loc="outside upper right",
        ncols=6,
        frameon=False,
        fontsize=8,
    )
    return Chart(figure, _sentence(record, failed, end, clock), _left_out(shown, trips))


def _draw_trip(
    axis: Axes, place: int, trip: Trip, scale: tuple[float, float], *, is_late: bool
) -> float:
    """Draw a party's bar, and return where it ends; `scale` is the picture's begin and unit."""
    begin, per = scale
    left = (trip.asked - begin) / per
    lengths = (trip.waited, trip.down, trip.train, trip.up)
    for length, (label, colour, alpha) in zip(lengths, _PARTS, strict=True):
        if width := length / per:
            # An update that comes too late counts for nothing, and is drawn fainter.
            shade = 0.35 * alpha if is_late else alpha
            axis.barh(place, width, 0.7, left, color=colour, alpha=shade, label=label)
        left += width
    return left


def _word(error: str) -> str:
    return "late" if error.startswith("late") else "failed"


def _chosen(trips: Mapping[str, Trip]) -> list[str]:
    order = sorted(trips, key=lambda party: trips[party].end)
    if len(order) <= _MOST:
        return order
    return [order[round(i * (len(order) - 1) / (_MOST - 1))] for i in range(_MOST)]


def _unit(longest: float) -> tuple[str, float]:
    """Return the unit of the axis and its seconds."""
    if longest < 0.5:
        return "milliseconds", 1e-3
    if longest < 300:
        return "seconds", 1.0
    return ("minutes", 60.0) if longest < 3 * 3600 else ("hours", 3600.0)


def _left_out(shown: Sequence[str], trips: Mapping[str, Trip]) -> str:
    if len(shown) == len(trips):
        return ""
    return f"{len(shown)} of {len(trips)} parties, evenly from the fastest to the slowest"


def _sentence(record: RoundRecord, failed: Mapping[str, str], end: float, clock: str) -> str:
    trips = record.trips
    slowest = max(trips, key=lambda party: trips[party].seconds)
    late = [*failed.values()].count("late")
    words = [f"{len(trips)} parties"]
    words += [f"{late} of them late"] if late else []
    words += [f"{len(failed) - late} failed"] if len(failed) > late else []
    return (
        f"Round {record.round} on the {clock} clock: {', '.join(words)}; it ended {end:.3g} s "
        f"after the first was asked; the slowest, {visible(slowest)}, took "
        f"{trips[slowest].seconds:.3g} s"
    )
