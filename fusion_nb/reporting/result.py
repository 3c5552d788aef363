"""What a run came to: one record, and how it is told in a line, in a few lines, and in a saved
notebook.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.core.history import History, better
from fusion_nb.core.types import Weights
from fusion_nb.reporting import charts
from fusion_nb.reporting.parties import Parties, number


class Text(str):
    """Text that a notebook shows as it is, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Similar(list[tuple[str, str, float]]):
    """Documents near a text as (tag, party, cosine similarity), the nearest first; also a table."""

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with one row for each document."""
        import pandas as pd

        return pd.DataFrame(list(self), columns=["tag", "party", "similarity"])

    def __repr__(self) -> str:
        return str(self.to_frame().to_string(index=False)) if self else "no document"

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False))


@dataclass(frozen=True)
class Best:
    """The best round by the monitored metric, the fused weights that it left, and a model with
    them.
    """

    round: int
    metric: str
    value: float
    weights: Weights = field(repr=False)
    model: Any = field(repr=False)


@dataclass(frozen=True)
class Result:
    """Everything about a run that a reader of its card, or of the saved notebook, needs.

    spec:    the options, as a mapping;  cell: text that repeats the run
    chosen:  options that the spec leaves open, as the model chose them
    status:  finished, stopped, failed, paused or running;  reason: why it ended, in words
    monitor: the metric that decided `best_round`;  planned: rounds that were asked for
    metrics: the two that charts and tables show
    """

    name: str
    spec: dict[str, Any]
    chosen: dict[str, Any]
    cell: str
    status: str
    reason: str
    planned: int
    monitor: str
    metrics: Sequence[str]
    best_round: int
    history: History
    parties: Parties
    notes: Sequence[str]
    initial_sha256: str
    traceback: str = ""

    def headline(self) -> str:
        """Return the run in one line."""
        done = f"{self.name}: {self.status}, {len(self.history)} of {self.planned} rounds"
        if self.reason:
            done += f" ({self.reason})"
        parts = [
            done,
            f"{self.chosen['fusion']} over {len(self.parties)} "
            f"{'party' if len(self.parties) == 1 else 'parties'}",
            *(
                f"{self.spec[name]} for each party"
                for name in ("personal", "share")
                if self.spec.get(name)
            ),
        ]
        if self.history:
            last = self.history.last()
            parts += [f"{name} {number(last[name])}" for name in self.metrics if name in last]
            parts.append(f"{sum(record.seconds for record in self.history):.1f} s")
        best = (
            self.history[self.best_round - 1].metrics[self.monitor] if self.best_round else math.nan
        )
        if self.history and better(
            self.monitor, best, self.history.last().get(self.monitor, math.nan)
        ):
            parts.append(f"best {self.monitor} {number(best)} in round {self.best_round}")
        return ", ".join(parts)

    def summary(self) -> Text:
        """Return the run in a few lines: the headline, what was inferred, the parties, what was
        sent.
        """
        lines = [self.headline(), *(f"  {note}" for note in self.notes)]
        if self.history:
            lines += [f"  {line}" for line in self._traffic()]
            failures = sum(len(record.failures) for record in self.history)
            lines += [f"  failures: {failures}, see run.failures"] if failures else []
        lines += [f"  {line}" for line in self.parties.gains(self.monitor)]
        table = self.parties.table(self.monitor)
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines += [
            "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in table
        ]
        return Text("\n".join(lines))

    def _traffic(self) -> list[str]:
        """Return what was sent, beside what fedavg would have sent, and how often parties
        synchronised.
        """
        sent = sum(record.bytes_up + record.bytes_down for record in self.history)
        fedavg = sum(record.bytes_fedavg for record in self.history)
        line = (
            f"sent: {count_bytes(sent)} of weights in {len(self.history)} rounds, and no row "
            "of data"
        )
        if abs(sent - fedavg) > 0.01 * fedavg > 0:
            line += (
                f"; {100 * sent / fedavg:.2g} % of the {count_bytes(fedavg)} that fedavg "
                "would have sent"
            )
        times = sum(record.synchronised for record in self.history)
        if times == len(self.history):
            return [line]
        if not times:
            warning = (
                "warning: nobody sent weights, so the fused model is the first one; choose "
                "a smaller threshold"
            )
            return [line, warning]
        return [line, f"weights travelled in {times} of {len(self.history)} rounds"]

    def chart(self) -> charts.Chart:
        """Return the curves."""
        return charts.curves(self.history, self.metrics)

    def mimebundle(self) -> dict[str, Any]:
        """Return what stays in a saved notebook, readable without a kernel, a widget or a trusted
        page.

        HTML that survives an untrusted page (no style sheet, no SVG), the picture alone, and one
        line of text.
        """
        text = html.escape(self.traceback)
        error = f"<details><summary>traceback</summary><pre>{text}</pre></details>"
        shown_error = error if self.traceback else ""
        if not self.history:
            page = caption_html(self.headline(), self.notes) + shown_error
            return {"text/html": page, "text/plain": self.headline()}
        chart = self.chart()
        caption = caption_html(self.headline(), self.notes)
        gains = "".join(
            f"<div>{html.escape(line)}</div>" for line in self.parties.gains(self.monitor)
        )
        page = (
            f'<figure style="margin:0"><figcaption>{caption}</figcaption>'
            f"{charts.image_tag(chart)}</figure>{html_table(self.parties.table(self.monitor))}"
            f"{gains}{shown_error}"
        )
        return {"text/html": page, "image/png": chart.png, "text/plain": self.headline()}


def caption_html(line: str, notes: Sequence[str]) -> str:
    """Return a line and the notes on a run; the same above the live chart and above the final one,
    so nothing jumps.
    """
    below = "".join(f'<div style="opacity:.8">{html.escape(note)}</div>' for note in notes)
    return f'<div style="line-height:1.8"><b>{html.escape(line)}</b></div>{below}'


def html_table(rows: list[list[str]]) -> str:
    """Return a small table whose header cells say what they head."""
    # not every front end brings one
    style = 'style="padding:.1em .6em;text-align:right;line-height:1.6"'
    head = "".join(f'<th scope="col" {style}>{html.escape(cell)}</th>' for cell in rows[0])
    body = "".join(
        f'<tr><th scope="row" {style}>{html.escape(row[0])}</th>'
        + "".join(f"<td {style}>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows[1:]
    )
    return (
        f'<table style="margin:.5em 0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )


def markdown_table(rows: list[list[str]]) -> str:
    """Return a table in Markdown, the first row of which is its header."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def count_bytes(count: float) -> str:
    """Return a number of bytes as text of three digits."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
