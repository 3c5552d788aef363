"""What the benchmarks found: one table, one file of results, one plot."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fusion_nb.core.process.machine import num_cores


@dataclass(frozen=True)
class Row:
    """One figure.

    name:      what is compared with what;  value: the figure;  unit: what stands behind it, such as
               "x"
    reach:     where it should be, and `stretch` where we would like it;  at_most: whether less is
               better
    detail:    the times that the figure comes from;  discarded, is_noisy: as `measure.Measured` has
               them
    """

    name: str
    value: float
    reach: float | None = None
    stretch: float | None = None
    at_most: bool = True
    unit: str = ""
    detail: str = ""
    discarded: int = 0
    is_noisy: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """How far it got."""
        if self.reach is None:
            return ""
        for bound, word in ((self.stretch, "stretch"), (self.reach, "reached")):
            if bound is not None and (self.value <= bound if self.at_most else self.value >= bound):
                return word
        return "missed"


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table."""
    lines = [
        "| figure | found | reach | stretch | | thrown away | detail |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sign = "≤" if row.at_most else "≥"
        bounds = [
            f"{sign} {bound:g}" if bound is not None else "" for bound in (row.reach, row.stretch)
        ]
        thrown = f"{row.discarded}{', noisy' if row.is_noisy else ''}"
        cells = (row.name, f"{row.value:.3g}{row.unit}", *bounds, row.verdict, thrown, row.detail)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def save(group: str, rows: Sequence[Row], folder: Path) -> list[Row]:
    """Put a group's rows into `results.json` and draw `results.png` anew; return all rows that are
    there now.
    """
    path = folder / "results.json"
    groups = json.loads(path.read_text(encoding="utf-8"))["groups"] if path.exists() else {}
    groups[group] = [asdict(row) | {"verdict": row.verdict} for row in rows]
    machine = {"cores": num_cores(), "processor": platform.processor() or platform.machine()}
    found = json.dumps({"machine": machine, "groups": groups}, indent=1, ensure_ascii=False)
    path.write_text(found + "\n", encoding="utf-8")
    everything = [
        Row(**{name: value for name, value in row.items() if name != "verdict"})
        for each in groups.values()
        for row in each
    ]
    _plot(everything, folder / "results.png")
    return everything


def _plot(rows: Sequence[Row], path: Path) -> None:
    """Draw how near each figure came to its goal, and how cost grows with the number of parties."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 0.32 * len(rows) + 2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    goals = [row for row in rows if row.reach]
    shares = [
        (row.reach or 1) / max(row.value, 1e-9) if row.at_most else row.value / (row.reach or 1)
        for row in goals
    ]
    left.barh(
        [row.name for row in goals],
        shares,
        color=["C0" if share >= 1 else "C3" for share in shares],
    )
    left.axvline(1, color="black", linewidth=0.8)
    left.set(xscale="log", xlabel="times as good as the goal (1: just reached)")
    left.invert_yaxis()
    for row in rows:
        if growth := row.data.get("growth"):
            parties = [point["parties"] for point in growth]
            right.plot(
                parties, [point["row_ms"] for point in growth], "o-", label="ms for each row"
            )
            right.plot(
                parties,
                [point["turn_ms"] for point in growth],
                "s-",
                label="ms for each party's turn",
            )
            right.plot(
                parties,
                [point["peak_mb"] / 1000 for point in growth],
                "^-",
                label="peak memory, GB",
            )
            right.set(xscale="log", yscale="log", xlabel="parties, with the same rows in all")
            right.legend(loc="upper right")
    figure.savefig(path, dpi=110)
