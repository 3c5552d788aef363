"""The parties of a run, each with the metrics of four models on its own test rows: trained alone,
after local training, fused, and personal.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fusion_nb.core.files.encodable import encodable
from fusion_nb.core.history import better, is_higher_better
from fusion_nb.core.types import Metrics
from fusion_nb.errors import NameNotFoundError, nearest
from fusion_nb.reporting.charts import Chart
from fusion_nb.reporting.contributions import Contributions
from fusion_nb.reporting.formatting import html_table, number, text_table
from fusion_nb.reporting.templates import shortened

if TYPE_CHECKING:
    import pandas as pd

_MAX_ROWS = 10
#: Parties that a notebook shows of all, at most.
_MAX_SHOWN = 60
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
    contribution: what it adds to the fused model, by method (`--contribution`), or empty
    """

    id: str
    num_examples: int
    num_test: int
    label_counts: dict[str, int]
    local: Metrics = field(default_factory=dict)
    fused: Metrics = field(default_factory=dict)
    alone: Metrics = field(default_factory=dict)
    personal: Metrics = field(default_factory=dict)
    contribution: Metrics = field(default_factory=dict)
    #: Whether it never trained (`--unseen`), and all of its rows are test rows.
    is_unseen: bool = False
    _model: Callable[[], Any] = field(default=lambda: None, repr=False, compare=False)
    _epsilon: Callable[[], float] = field(default=lambda: math.nan, repr=False, compare=False)

    @property
    def epsilon(self) -> float:
        """The part of the party's privacy that the run has spent, by its own ledger (`--privacy`).

        It is of all rounds so far, 0 where it took part in none, and NaN in runs that count none.
        """
        return self._epsilon()

    @property
    def model(self) -> Any:
        """The party's own model: its personal model, or for a Doc2Vec one with its documents.

        Each access makes a new object. Raises ModelError where all parties have the same model.
        """
        return self._model()


class Parties(list[PartyReport]):
    """The parties' reports: a list, a mapping (`run.parties["party 1"]`), and a table.

    metric: the one that the run monitors, by which parties are compared
    contributions: what was measured of them after the last round
    """

    def __init__(
        self,
        reports: Iterable[PartyReport] = (),
        *,
        metric: str = "loss",
        contributions: Contributions | None = None,
    ) -> None:
        super().__init__(reports)
        self._metric = _bare(metric)
        self._contributions = contributions or Contributions("")

    @property
    def contributions(self) -> Contributions:
        """Contributions with the metric of a model on each party's rows, those unseen apart.

        The model is the fused one, or where parties alone have whole models, their own.
        """
        metric = _bare(self._contributions.metric or self._metric)
        unseen = {p.id: p.fused[metric] for p in self if p.is_unseen and metric in p.fused}
        for kind in ("fused", "personal", "local"):
            found = self.having(kind, metric)
            if own := {party: value for party, value in found.items() if party not in unseen}:
                break
        return replace(self._contributions, metric=metric, kind=kind, own=own, unseen=unseen)

    def plot(self) -> Chart:
        """Return the chart of parties: bars of the monitored metric, and of their contributions.

        Raises RunError before the first whole round.
        """
        return self.contributions.plot()

    def worst(self, metric: str = "", kind: str = "") -> PartyReport:
        """Return the party whose model is worst by a metric, on its own test rows.

        metric: the monitored one by default
        kind:   alone, local, fused or personal; by default the last of these that parties have
        Raises NameNotFoundError where no party has it.
        """
        metric = _bare(metric) if metric else self._metric
        kinds = [kind] if kind else ["personal", "fused", "local", "alone"]
        for each in kinds if set(kinds) <= set(KINDS) else ():
            if found := self.having(each, metric):
                worst = min if is_higher_better(metric) else max
                party: PartyReport = self[worst(found, key=lambda name: found[name])]
                return party
        known = sorted({name for p in self for each in KINDS for name in getattr(p, each)})
        raise NameNotFoundError(
            f"no party has the metric {metric!r}{f' of its {kind} model' if kind else ''}",
            f"{nearest(metric, known)}there are: {', '.join(known)}",
        )

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
            | dict(party.contribution)
            | ({} if math.isnan(party.epsilon) else {"epsilon": party.epsilon})
            | {encodable(f"label_{name}"): count for name, count in party.label_counts.items()}
            for party in self
        ]
        return pd.DataFrame(rows).set_index("party")

    def table(self, metric: str, limit: int = _MAX_ROWS) -> list[list[str]]:
        """Return the header and the rows of a table, in the order of what parties gain by the run.

        metric: the metric that is shown of each model
        Of more than `limit` parties, the best and the worst are shown, and a row between counts
        the others. Where no model was trained alone, all parties stand in their own order, or the
        best and the worst by their last model.
        """
        metric = _bare(metric)
        kinds = [
            kind
            for kind in KINDS
            if kind == "local" or self.having(kind, metric) or self._is_always(kind)
        ]
        added = self._added()
        header = ["party", "rows", "test rows", *(f"{kind} {metric}" for kind in kinds), *added]
        best, worst = self._best_and_worst(metric, limit)
        shown = [
            [
                shortened(p.id, _MAX_NAME),
                str(p.num_examples),
                str(p.num_test),
                *(number(getattr(p, kind).get(metric)) for kind in kinds),
                *(number(_added_value(p, name)) for name in added),
            ]
            for p in (*best, *worst)
        ]
        if len(self) > limit:
            others = [f"and {len(self) - limit} more: .parties", *[""] * (len(header) - 1)]
            shown.insert(len(best), others)
        return [header, *shown]

    def _best_and_worst(
        self, metric: str, limit: int
    ) -> tuple[list[PartyReport], list[PartyReport]]:
        """Return at most that number of parties, in two parts where there are more."""
        gains = {party.id: _gain(party, metric) for party in self}
        has_alone = bool(self.having("alone", metric))
        if len(self) <= limit and not has_alone:
            return list(self), []
        ordered = sorted(self, key=lambda party: gains[party.id], reverse=True)
        if len(self) <= limit:
            return ordered, []
        num_worst = limit // 2
        return ordered[: limit - num_worst], ordered[len(ordered) - num_worst :]

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
            pairs = [(value, alone[party]) for party, value in values.items() if party in alone]
            if kind != "alone":
                gains = sum(better(metric, value, other) for value, other in pairs)
                losses = sum(better(metric, other, value) for value, other in pairs)
                worse = f" ({losses} of {len(pairs)} are worse off)" if losses else ""
                gained.append(f"{gains} of {len(pairs)} parties with {_MODEL[kind]}{worse}")
        lines = [f"{metric} over parties: {', '.join(parts)}"]
        return lines + ([f"better than alone: {', '.join(gained)}"] if gained else [])

    def having(self, kind: str, metric: str) -> dict[str, float]:
        """Return a metric of one of the `KINDS` of models by party, of the parties that have it."""
        return {
            party.id: getattr(party, kind)[metric]
            for party in self
            if metric in getattr(party, kind)
        }

    def _added(self) -> list[str]:
        """Return the methods by which contributions were measured, and epsilon where counted."""
        names = dict.fromkeys(name for party in self for name in party.contribution)
        is_private = any(not math.isnan(party.epsilon) for party in self)
        found = [name for name in names if not name.endswith(("_low", "_high"))]
        return [*found, "epsilon"] if is_private else found

    def _is_always(self, kind: str) -> bool:
        return kind == "fused" and not any(party.personal for party in self)

    def __repr__(self) -> str:
        return "\n".join(text_table(self._whole_table())) if self else "no parties"

    def _repr_html_(self) -> str:
        return str(html_table(self._whole_table()))

    def _whole_table(self) -> list[list[str]]:
        """Return a table of all metrics; `to_frame` has the counts of labels too."""
        columns = [
            (kind, name)
            for kind in KINDS
            for name in dict.fromkeys(name for party in self for name in getattr(party, kind))
        ]
        added = self._added()
        metrics = [f"{kind} {name}" for kind, name in columns]
        header = ["party", "rows", "test rows", *metrics, *added]
        rows = [
            [
                shortened(party.id, _MAX_NAME),
                str(party.num_examples),
                str(party.num_test),
                *(number(getattr(party, kind).get(name)) for kind, name in columns),
                *(number(_added_value(party, name)) for name in added),
            ]
            for party in self[:_MAX_SHOWN]
        ]
        if (hidden := len(self) - _MAX_SHOWN) > 0:
            rows.append([f"and {hidden} more: .to_frame()", *[""] * (len(header) - 1)])
        return [header, *rows]


def _added_value(party: PartyReport, name: str) -> float | None:
    value = party.epsilon if name == "epsilon" else party.contribution.get(name)
    return None if value is None or math.isnan(value) else value


def _gain(party: PartyReport, metric: str) -> float:
    """Return by how much a party's last model is better than the one that it trained alone.

    Without one, how good it is; -inf where it was not measured.
    """
    value = (party.personal or party.fused or party.local).get(metric, math.nan)
    gain = value - party.alone.get(metric, math.nan) if party.alone else value
    if math.isnan(gain):
        return -math.inf
    return gain if is_higher_better(metric) else -gain


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
