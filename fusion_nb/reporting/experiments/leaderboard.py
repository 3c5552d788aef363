"""The settings of an experiment as a table, the best first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_nb.reporting.formatting import html_table, text_table
from fusion_nb.reporting.templates import shortened, visible

#: Rows of the table in a notebook, and characters of a setting.
_MAX_ROWS, _MAX_NAME = 30, 60


@dataclass(frozen=True)
class Leaderboard:
    """Settings, the best first: mean and standard deviation, runs, costs, rounds to a target.

    metric: what is compared;  rows: of `Comparison.rows()`;  target: of the metric, or None
    winner: the setting that tests tell to be better than every other one, or ""
    band:   `std`, or `bootstrap` for the 95 % interval of the mean
    """

    metric: str
    rows: Sequence[Mapping[str, Any]]
    target: float | None = None
    winner: str = ""
    band: str = "std"

    def table(self, limit: int = _MAX_ROWS) -> list[list[str]]:
        """Return the header and the rows as text. The winner has a star."""
        header, *shown = self.cells(limit)
        for row, cells in zip(self.rows, shown, strict=False):
            name = shortened(row["setting"], _MAX_NAME)
            cells[0] = f"{name} *" if self.is_winner(row) else name
        return [header, *shown]

    def is_winner(self, row: Mapping[str, Any]) -> bool:
        """Return whether the tests tell the setting of a row to be the best."""
        return bool(self.winner) and row["setting"] == self.winner

    def cells(self, limit: int | None = None) -> list[list[str]]:
        """Return the header and the rows as text, names of any length; all of them by default."""
        limit = len(self.rows) if limit is None else limit
        header = ["setting", self.metric, "runs", "rounds", "MB sent", "gradient steps", "seconds"]
        has_epsilon = any("epsilon" in row for row in self.rows)
        header += ["epsilon"] if has_epsilon else []
        header += [f"rounds to {self.target:g}"] if self.target is not None else []
        has_tests = any("p" in row for row in self.rows) and any(r["runs"] > 1 for r in self.rows)
        header += ["p"] if has_tests else []
        shown = [header]
        for row in self.rows[:limit]:
            cells = [
                visible(row["setting"]),
                self._mean(row),
                str(row["runs"]),
                *(short(row[cost]) for cost in ("rounds", "bytes", "steps", "seconds")),
            ]
            cells += [short(row.get("epsilon", math.nan))] if has_epsilon else []
            cells += [_reached(row)] if self.target is not None else []
            cells += [f"{row['p']:.3g} (n={row['n']})" if "p" in row else "–"] if has_tests else []
            shown.append(cells)
        if (left := len(self.rows) - limit) > 0:
            shown.append([f"and {left} more: .to_frame()", *[""] * (len(header) - 1)])
        return shown

    def _mean(self, row: Mapping[str, Any]) -> str:
        if self.band == "bootstrap":
            return mean_and_interval(row["mean"], row["low"], row["high"])
        return mean_and_std(row["mean"], row["std"])

    def __repr__(self) -> str:
        return "\n".join(text_table(self.table()))

    def _repr_html_(self) -> str:
        return str(html_table(self.table()))


def mean_and_std(mean: float, std: float) -> str:
    """Return a mean with its standard deviation, both with digits that the mean needs.

    >>> mean_and_std(0.9123, 0.0123), mean_and_std(0.5, float("nan")), mean_and_std(2e-4, 1e-5)
    ('0.912 ± 0.012', '0.500', '0.00020 ± 0.00001')
    """
    if math.isnan(mean):
        return "–"
    format = _format_of(mean)
    return f"{mean:{format}}" if math.isnan(std) else f"{mean:{format}} ± {std:{format}}"


def mean_and_interval(mean: float, low: float, high: float) -> str:
    """Return a mean with an interval around it.

    >>> mean_and_interval(0.9123, 0.9, 0.9345), mean_and_interval(0.5, float("nan"), float("nan"))
    ('0.912 [0.900, 0.934]', '0.500')
    """
    if math.isnan(mean):
        return "–"
    format = _format_of(mean)
    if math.isnan(low):
        return f"{mean:{format}}"
    return f"{mean:{format}} [{low:{format}}, {high:{format}}]"


def _format_of(value: float) -> str:
    """Return the format of a number: three decimals, more of a small one, powers of a large one."""
    size = abs(value)
    if not size or not math.isfinite(size):
        return ".3f"
    if size >= 1000 or size < 1e-6:
        return ".3g"
    return f".{max(3, 1 - math.floor(math.log10(size)))}f"


def short(value: float) -> str:
    """Return a cost with three digits; a whole number has all of them."""
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _reached(row: Mapping[str, Any]) -> str:
    """Return the rounds to a target with their interval, and how many runs reached it."""
    if not row["reached"]:
        return "never"
    text = short(row["rounds_to_target"])
    if not math.isnan(row["rounds_low"]):
        text += f" [{short(row['rounds_low'])}, {short(row['rounds_high'])}]"
    missing = row["reached"] < row["runs"]
    return f"{text} ({row['reached']} of {row['runs']})" if missing else text
