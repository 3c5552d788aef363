"""The simulated time of a run, or that it was real, in words."""

from __future__ import annotations

from fusion_nb.core.clock.pace import JOULES, SECONDS
from fusion_nb.core.history import History
from fusion_nb.reporting.formatting import duration


def simulated_time(history: History) -> list[str]:
    """Return the time, the energy and the late updates of a run as a line; none without them."""
    last = history.last()
    if SECONDS in history.metrics():
        parts = [f"simulated time: {span(last[SECONDS])}"]
    elif any(record.trips for record in history):
        parts = ["real time: updates were fused as they came"]
    else:
        return []
    if last.get(JOULES):
        parts.append(f"{last[JOULES] / 3600:.3g} Wh of training")
    asked = sum(len(record.trips) for record in history)
    late = sum(f.error.startswith("late") for record in history for f in record.failures)
    if late:
        parts.append(f"{late} of {asked} updates were late")
    stale = [
        record.round - 1 - trip.version for record in history for trip in record.trips.values()
    ]
    if any(stale):
        parts.append(f"updates were {sum(stale) / len(stale):.1f} rounds old on average")
    return ["; ".join(parts)]


def span(seconds: float) -> str:
    """Return a simulated time in words, with three digits where it is short.

    >>> span(0.0123), span(12.345), span(600)
    ('12.3 ms', '12.3 s', '10 min')
    """
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 90 else duration(seconds)
