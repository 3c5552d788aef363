"""What a run came to: one record, and how it is told in a line, in a few lines, and in a saved notebook."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusion_nb import charts
from fusion_nb.errors import NameNotFoundError, nearest
from fusion_nb.history import History, better
from fusion_nb.types import Metrics

_MAX_ROWS = 10


class Text(str):
    """Text that a notebook shows as it is, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class PartyReport:
    """One party's side of a run.

    num_examples, num_test: its training rows, and the test rows of its own
    label_counts: training rows of each class, by the class's name; empty where labels are measurements
    local:        metrics of its own model after its last local training, on its own test rows
    fused:        metrics of the fused model on the same rows
    """

    id: str
    num_examples: int
    num_test: int
    label_counts: dict[str, int]
    local: Metrics
    fused: Metrics
    _model: Callable[[], Any] = field(default=lambda: None, repr=False, compare=False)

    @property
    def model(self) -> Any:
        """The party's own model: for a Doc2Vec, one with its documents, their vectors inferred in the fused space.

        Made anew each time. Raises ModelError for a kind of model that is the same at every party.
        """
        return self._model()


class Parties(list[PartyReport]):
    """The parties' reports in order, also by name: `run.parties["party 1"]`; also a table."""

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        found = {party.id: party for party in self}
        if key not in found:
            names = ", ".join(found)
            raise NameNotFoundError(f"no party is called {key!r}", f"{nearest(key, found)}there are: {names}")
        return found[key]

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with one row for each party."""
        import pandas as pd

        rows = [
            {"party": party.id, "num_examples": party.num_examples, "num_test": party.num_test}
            | {f"local_{name}": value for name, value in party.local.items()}
            | {f"fused_{name}": value for name, value in party.fused.items()}
            | {f"label_{name}": count for name, count in party.label_counts.items()}
            for party in self
        ]
        return pd.DataFrame(rows).set_index("party")

    def table(self, metric: str, limit: int = _MAX_ROWS) -> list[list[str]]:
        """Return header and rows as text, with a last line for parties beyond the limit."""
        header = ["party", "rows", "test rows", f"local {metric}", f"fused {metric}"]
        shown = [
            [p.id, str(p.num_examples), str(p.num_test), _number(p.local.get(metric)), _number(p.fused.get(metric))]
            for p in self[:limit]
        ]
        more = [[f"and {len(self) - limit} more: run.parties", "", "", "", ""]] if len(self) > limit else []
        return [header, *shown, *more]

    def __repr__(self) -> str:
        return str(self.to_frame().to_string()) if self else "no parties"

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html())


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
            f"{self.chosen['fusion']} over {len(self.parties)} {'party' if len(self.parties) == 1 else 'parties'}",
        ]
        if self.history:
            last = self.history.last()
            parts += [f"{name} {_number(last[name])}" for name in self.metrics if name in last]
            parts.append(f"{sum(record.seconds for record in self.history):.1f} s")
        best = self.history[self.best_round - 1].metrics[self.monitor] if self.best_round else math.nan
        if self.history and better(self.monitor, best, self.history.last().get(self.monitor, math.nan)):
            parts.append(f"best {self.monitor} {_number(best)} in round {self.best_round}")
        return ", ".join(parts)

    def summary(self) -> Text:
        """Return the run in a few lines: the headline, what was inferred, the parties, what was sent."""
        lines = [self.headline(), *(f"  {note}" for note in self.notes)]
        if self.history:
            sent = sum(record.bytes_up + record.bytes_down for record in self.history)
            lines.append(f"  sent: {_bytes(sent)} of weights in {len(self.history)} rounds, and no row of data")
            failures = sum(len(record.failures) for record in self.history)
            lines += [f"  failures: {failures}, see run.failures"] if failures else []
        table = self.parties.table(self.monitor)
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines += [
            "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        return Text("\n".join(lines))

    def chart(self) -> charts.Chart:
        """Return the curves."""
        return charts.curves(self.history, self.metrics)

    def mimebundle(self) -> dict[str, Any]:
        """Return what stays in a saved notebook, readable without a kernel, a widget or a trusted page.

        HTML that survives an untrusted page (no style sheet, no SVG), the picture alone, and one line of text.
        """
        error = f"<details><summary>traceback</summary><pre>{html.escape(self.traceback)}</pre></details>"
        shown_error = error if self.traceback else ""
        if not self.history:
            page = caption_html(self.headline(), self.notes) + shown_error
            return {"text/html": page, "text/plain": self.headline()}
        chart = self.chart()
        page = (
            f'<figure style="margin:0"><figcaption>{caption_html(self.headline(), self.notes)}</figcaption>'
            f"{charts.image_tag(chart)}</figure>{html_table(self.parties.table(self.monitor))}{shown_error}"
        )
        return {"text/html": page, "image/png": chart.png, "text/plain": self.headline()}


def caption_html(line: str, notes: Sequence[str]) -> str:
    """Return a line and the notes on a run; the same above the live chart and above the final one, so nothing jumps."""
    below = "".join(f'<div style="opacity:.8">{html.escape(note)}</div>' for note in notes)
    return f'<div style="line-height:1.8"><b>{html.escape(line)}</b></div>{below}'


def html_table(rows: list[list[str]]) -> str:
    """Return a small table whose header cells say what they head."""
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in rows[0])
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows[1:]
    )
    return f'<table style="margin:.5em 0"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if math.isfinite(value) and abs(value) < 1000 else f"{value:.3g}"


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
