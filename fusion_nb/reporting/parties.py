"""What a run came to at each party: alone, before fusion, with the fused model, and with a model of
its own.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.core.history import better, is_higher_better
from fusion_nb.core.types import Metrics
from fusion_nb.errors import NameNotFoundError, nearest

_MAX_ROWS = 10
#: Whose metrics a report has.
KINDS = ("alone", "local", "fused", "personal")


@dataclass(frozen=True)
class PartyReport:
    """One party's side of a run; all metrics are on its own test rows.

    num_examples, num_test: its training rows, and the test rows of its own
    label_counts: training rows of each class, by the class's name; empty where labels are
    measurements
    local:        metrics of its own model after its last local training, before fusion
    fused:        metrics of the fused model; empty where only parties have whole models
    alone:        metrics of a model that it trained without anybody (`--baseline local`), or empty
    personal:     metrics of the model of its own that it was given (`--personal`, `--share`), or
                  empty
    """

    id: str
    num_examples: int
    num_test: int
    label_counts: dict[str, int]
    local: Metrics = field(default_factory=dict)
    fused: Metrics = field(default_factory=dict)
    alone: Metrics = field(default_factory=dict)
    personal: Metrics = field(default_factory=dict)
    _model: Callable[[], Any] = field(default=lambda: None, repr=False, compare=False)

    @property
    def model(self) -> Any:
        """The party's own model: that of `--personal` or `--share`; for a Doc2Vec, one with its
        documents.

        Made anew each time. Raises ModelError where all parties have the same.
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
            raise NameNotFoundError(
                f"no party is called {key!r}", f"{nearest(key, found)}there are: {names}"
            )
        return found[key]

    def to_frame(self) -> Any:
        """Return a pandas DataFrame with one row for each party."""
        import pandas as pd

        rows = [
            {"party": party.id, "num_examples": party.num_examples, "num_test": party.num_test}
            | {
                f"{kind}_{name}": value
                for kind in KINDS
                for name, value in getattr(party, kind).items()
            }
            | {f"label_{name}": count for name, count in party.label_counts.items()}
            for party in self
        ]
        return pd.DataFrame(rows).set_index("party")

    def table(self, metric: str, limit: int = _MAX_ROWS) -> list[list[str]]:
        """Return header and rows as text, with a last line for parties beyond the limit."""
        metric = _bare(metric)
        kinds = [
            kind
            for kind in KINDS
            if kind == "local" or self.having(kind, metric) or self._is_always(kind)
        ]
        header = ["party", "rows", "test rows", *(f"{kind} {metric}" for kind in kinds)]
        shown = [
            [
                p.id,
                str(p.num_examples),
                str(p.num_test),
                *(number(getattr(p, kind).get(metric)) for kind in kinds),
            ]
            for p in self[:limit]
        ]
        if len(self) > limit:
            shown.append([f"and {len(self) - limit} more: run.parties", *[""] * (len(header) - 1)])
        return [header, *shown]

    def gains(self, metric: str) -> list[str]:
        """Return, as sentences, who gains by what; nothing where it is not known what parties reach
        alone.
        """
        metric = _bare(metric)
        alone = self.having("alone", metric)
        if not alone:
            return []
        worst = min if is_higher_better(metric) else max
        parts, gained = [], []
        for kind in ("alone", "fused", "personal"):
            found = self.having(kind, metric)
            if not found:
                continue
            mean, spread = statistics.fmean(found.values()), statistics.pstdev(found.values())
            parts.append(
                f"{kind} {number(mean)} (worst {number(worst(found.values()))}, spread "
                f"{number(spread)})"
            )
            gains = [
                better(metric, value, alone[party])
                for party, value in found.items()
                if party in alone
            ]
            if kind != "alone":
                gained.append(f"{sum(gains)} of {len(gains)} parties with {_MODEL[kind]}")
        lines = [f"{metric} over parties: {', '.join(parts)}"]
        return lines + ([f"better than alone: {', '.join(gained)}"] if gained else [])

    def having(self, kind: str, metric: str) -> dict[str, float]:
        """Return a metric by party, of those that have it: of kind alone, local, fused or
        personal.
        """
        return {
            party.id: getattr(party, kind)[metric]
            for party in self
            if metric in getattr(party, kind)
        }

    def _is_always(self, kind: str) -> bool:
        return kind == "fused" and not any(party.personal for party in self)

    def __repr__(self) -> str:
        return str(self.to_frame().to_string()) if self else "no parties"

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html())


def of_kinds(found: Metrics, metrics: Sequence[str]) -> dict[str, Metrics]:
    """Return what a party measured (`local_loss`, `loss`, ...) by whose model it is of: `KINDS`."""
    starts = {kind: "" if kind == "fused" else f"{kind}_" for kind in KINDS}
    return {
        kind: {m: found[start + m] for m in metrics if start + m in found}
        for kind, start in starts.items()
    }


def _bare(metric: str) -> str:
    """Return the metric of a party that a metric of the run is of: `accuracy` for
    `central_accuracy`.
    """
    start, _, name = metric.partition("_")
    return name if start in (*KINDS, "central") else metric


_MODEL = {"fused": "the fused model", "personal": "one of their own"}


def number(value: float | None) -> str:
    """Return a metric as text of three digits, and a dash for none."""
    if value is None:
        return "–"
    return f"{value:.3f}" if math.isfinite(value) and abs(value) < 1000 else f"{value:.3g}"
