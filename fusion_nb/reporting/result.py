"""The result of a run as one record, in a line, in a few lines, and as the output of a saved
notebook.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fusion_nb.core.history import History, better
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import Weights
from fusion_nb.reporting import charts
from fusion_nb.reporting.formatting import (
    caption_html,
    count_bytes,
    html_table,
    number,
    text_table,
)
from fusion_nb.reporting.parties import Parties
from fusion_nb.reporting.simulated_time import simulated_time
from fusion_nb.reporting.templates import render

if TYPE_CHECKING:
    import pandas as pd

_PAGE = (
    "{% if image %}"
    '<figure style="margin:0"><figcaption>{{ caption }}</figcaption>{{ image }}</figure>'
    "{{ table }}{% for line in gains %}<div>{{ line }}</div>{% endfor %}"
    "{{ parties }}"
    "{% else %}{{ caption }}{% endif %}"
    "{% if traceback %}"
    "<details><summary>traceback</summary><pre>{{ traceback }}</pre></details>"
    "{% endif %}"
)


class Text(str):
    """Text that a notebook shows as it is, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


class Similar(list[tuple[str, str, float]]):
    """Documents near a text as (tag, party, cosine similarity), the nearest first; also a table."""

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row for each document."""
        import pandas as pd

        return pd.DataFrame(list(self), columns=["tag", "party", "similarity"])

    def __repr__(self) -> str:
        return str(self.to_frame().to_string(index=False)) if self else "no document"

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False))


@dataclass(frozen=True)
class Best:
    """The best round by the monitored metric, its fused weights, and a model with them."""

    round: int
    metric: str
    value: float
    weights: Weights = field(repr=False)
    model: Any = field(repr=False)


@dataclass(frozen=True)
class Result:
    """Everything about a run that the reader of its card, or of a saved notebook, needs.

    spec:    the options, as a mapping;  cell: text that repeats the run
    chosen:  options that the spec leaves open, as the model chose them
    status:  finished, stopped, failed, paused or running;  reason: why it ended, in words
    monitor: the metric that decided `best_round`;  planned: rounds that were asked for
    metrics: the two that charts and tables show
    rows_went_to: the address that the parties' rows were sent to, or "" where none was sent
    schema:  what rows and labels are, at every party alike
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
    rows_went_to: str = ""
    schema: DataSchema = field(default_factory=DataSchema)

    def headline(self) -> str:
        """Return the run in one line."""
        first = f"{self.name}: {self.status}, {len(self.history)} of {self.planned} rounds"
        parts = [f"{first} ({self.reason})" if self.reason else first, self._fusion_and_parties()]
        parts += [
            f"{self.spec[name]} for each party"
            for name in ("personal", "share")
            if self.spec.get(name)
        ]
        if self.history:
            last = self.history.last()
            shown = (*self.metrics, "epsilon")
            parts += [f"{name} {number(last[name])}" for name in shown if name in last]
            parts.append(f"{self.history.seconds():.1f} s")
            parts += self._better_round(last.get(self.monitor, math.nan))
        return ", ".join(parts)

    def summary(self) -> Text:
        """Return the run in a few lines: headline, notes, bytes sent, comparison, parties."""
        lines = list(self.notes)
        if self.history:
            lines += self._traffic()
            lines += simulated_time(self.history)
            failures = sum(len(record.failures) for record in self.history)
            lines += [f"failures: {failures}, see run.failures"] if failures else []
        lines += self.parties.gains(self.monitor)
        lines += text_table(self.parties.table(self.monitor))
        return Text("\n".join([self.headline(), *(f"  {line}" for line in lines)]))

    def chart(self, *, against: str = "round") -> charts.Chart:
        """Return the curves, against rounds, simulated time or epsilon."""
        return charts.curves(self.history, self.metrics, against=against)

    def mimebundle(self) -> dict[str, Any]:
        """Return the output that stays in a saved notebook: HTML, a picture, and one line of text.

        It needs no kernel, no widget and no trusted page: the HTML has neither a style sheet nor
        SVG.
        """
        line = self.headline()
        caption = caption_html(line, self.notes)
        if not self.history:
            page = render(_PAGE, image="", caption=caption, traceback=self.traceback)
            return {"text/html": str(page), "text/plain": line}
        chart = self.chart()
        page = render(
            _PAGE,
            image=charts.image_tag(chart),
            caption=caption,
            table=html_table(self.parties.table(self.monitor)),
            gains=self.parties.gains(self.monitor),
            parties=self.parties.contributions.images(),
            traceback=self.traceback,
        )
        return {"text/html": str(page), "image/png": chart.png, "text/plain": line}

    def _fusion_and_parties(self) -> str:
        count = sum(not party.is_unseen for party in self.parties)
        return f"{self.chosen['fusion']} over {count} {'party' if count == 1 else 'parties'}"

    def _better_round(self, last: float) -> list[str]:
        """Return the best round in words, where it is better than the last one."""
        if not self.best_round:
            return []
        best = self.history[self.best_round - 1].metrics[self.monitor]
        if not better(self.monitor, best, last):
            return []
        return [f"best {self.monitor} {number(best)} in round {self.best_round}"]

    def _traffic(self) -> list[str]:
        """Return the bytes sent, compared with fedavg, and how often parties synchronised."""
        sent = sum(record.bytes_up + record.bytes_down for record in self.history)
        fedavg = sum(record.bytes_fedavg for record in self.history)
        rows = "no row of data"
        if self.rows_went_to:
            rows = f"before them all rows of data, to {self.rows_went_to}"
        line = f"sent: {count_bytes(sent)} of weights in {len(self.history)} rounds, and {rows}"
        if abs(sent - fedavg) > 0.01 * fedavg > 0:
            percent = 100 * sent / fedavg
            share = f"{percent:.2g}" if percent < 100 else f"{percent:.0f}"
            line += f"; {share} % of the {count_bytes(fedavg)} that fedavg would have sent"
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
