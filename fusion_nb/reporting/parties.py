"""The parties of a run, each with the metrics of four models on its own test rows: trained alone,
after local training, fused, and personal.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fusion_nb.core.encodable import encodable
from fusion_nb.core.history import better, is_higher_better
from fusion_nb.core.types import Metrics
from fusion_nb.errors import NameNotFoundError, nearest
from fusion_nb.reporting.formatting import number
from fusion_nb.reporting.templates import shortened

if TYPE_CHECKING:
    import pandas as pd

_MAX_ROWS = 10
#: Characters of a party's name in a table.
_MAX_NAME = 60
#: The models whose metrics a report has.
KINDS = ("alone", "local", "fused", "personal")
#: The models that are compared with one trained alone, in words.
_MODEL = {"fused": "the fused model", "personal": "one of their own"}


@dataclass(frozen=True)
class PartyReport:
    """One party of a run. All metrics are measured on its own test rows.

    num_examples: number of its training rows;  num_test: number of its own test rows
    label_counts: training rows of each class, by the class's name; empty where labels are
                  measurements
    local:        metrics of its model after its last local training, before aggregation
    fused:        metrics of the fused model; empty where only parties have whole models
    alone:        metrics of a model that it trained alone (`--baseline local`), or empty
    personal:     metrics of its personal model (`--personal`, `--share`), or empty
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
        """The party's own model: its personal model, or for a Doc2Vec one with its documents.

        Each access makes a new object. Raises ModelError where all parties have the same model.
        """
        return self._model()


class Parties(list[PartyReport]):
    """The parties' reports: a list, a mapping (`run.parties["party 1"]`), and a table."""

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

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row for each party."""
        import pandas as pd

        rows = [
            {
                "party": encodable(party.id),
                "num_examples": party.num_examples,
                "num_test": party.num_test,
            }
            | {
                f"{kind}_{name}": value
                for kind in KINDS
                for name, value in getattr(party, kind).items()
            }
            | {encodable(f"label_{name}"): count for name, count in party.label_counts.items()}
            for party in self
        ]
        return pd.DataFrame(rows).set_index("party")

    def table(self, metric: str, limit: int = _MAX_ROWS) -> list[list[str]]:
        """Return the header and the rows of a table; a last row counts the parties beyond `limit`.

        metric: the metric that is shown of each model
        """
        metric = _bare(metric)
        kinds = [
            kind
            for kind in KINDS
            if kind == "local" or self.having(kind, metric) or self._is_always(kind)
        ]
        header = ["party", "rows", "test rows", *(f"{kind} {metric}" for kind in kinds)]
        shown = [
            [
                shortened(p.id, _MAX_NAME),
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
        """Return sentences that compare the models by their means over parties.

        The list is empty where no model was trained alone, since nothing can be gained then.
        """
        metric = _bare(metric)
        alone = self.having("alone", metric)
        if not alone:
            return []
        worst = min if is_higher_better(metric) else max
        parts, gained = [], []
        for kind in ("alone", "fused", "personal"):
            values = self.having(kind, metric)
            if not values:
                continue
            mean = statistics.fmean(values.values())
            spread = statistics.pstdev(values.values())
            parts.append(
                f"{kind} {number(mean)} (worst {number(worst(values.values()))}, spread "
                f"{number(spread)})"
            )
            gains = [
                better(metric, value, alone[party])
                for party, value in values.items()
                if party in alone
            ]
            if kind != "alone":
                gained.append(f"{sum(gains)} of {len(gains)} parties with {_MODEL[kind]}")
        lines = [f"{metric} over parties: {', '.join(parts)}"]
        return lines + ([f"better than alone: {', '.join(gained)}"] if gained else [])

    def having(self, kind: str, metric: str) -> dict[str, float]:
        """Return a metric of one of the `KINDS` of models by party, of the parties that have it."""
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


def by_kind(metrics: Metrics, names: Sequence[str]) -> dict[str, Metrics]:
    """Return a party's metrics (`local_loss`, `loss`, ...) by the model that they belong to.

    metrics: as in `RoundRecord.party_metrics`;  names: the metrics of a model, as `loss`
    The keys are `KINDS`.
    """
    prefixes = {kind: "" if kind == "fused" else f"{kind}_" for kind in KINDS}
    return {
        kind: {name: metrics[prefix + name] for name in names if prefix + name in metrics}
        for kind, prefix in prefixes.items()
    }


def _bare(metric: str) -> str:
    """Return the metric of a model behind a metric of the run: `accuracy` of `central_accuracy`."""
    prefix, _, name = metric.partition("_")
    return name if prefix in (*KINDS, "central") else metric
