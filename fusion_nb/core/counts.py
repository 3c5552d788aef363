"""Metrics with the sums that they were computed from, so that those of several parties are joined
exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fusion_nb.core.arithmetic import metric_mean
from fusion_nb.core.protocols.metric import Sums
from fusion_nb.core.protocols.model import TrainableModel
from fusion_nb.core.types import Metrics, PartyMetrics, RoundRecord
from fusion_nb.core.types.training import mean_metrics

#: A difference that shows in the digits of a table.
_VISIBLE = 5e-4


class Counted(float):
    """The value of a metric with the sums behind it.

    It is a number wherever metrics are compared, renamed and drawn. It is NaN where these rows
    allow no value, such as an AUC of rows of one class; its sums count among all parties' still.

    sums:   add up to those of all rows together
    weight: rows that each counted row stands for, where only some of them were measured
    error:  bound of the difference from the exact value

    >>> import numpy as np
    >>> value = Counted(0.5, {"right": np.array(1.0), "count": np.array(2.0)})
    >>> value + 1, value.sums["count"]
    (1.5, array(2.))
    """

    sums: Sums
    weight: float
    error: float

    def __new__(cls, value: float, sums: Sums, weight: float = 1.0, error: float = 0.0) -> Counted:
        """Return a number with its sums."""
        made = super().__new__(cls, value)
        made.sums, made.weight, made.error = sums, weight, error
        return made

    def __reduce__(self) -> Any:
        return Counted, (float(self), self.sums, self.weight, self.error)


def standing_for(metrics: Metrics, weight: float) -> Metrics:
    """Return metrics of some rows that stand for more: each counted row for `weight` of them."""
    return {
        name: Counted(value, value.sums, weight, value.error)
        if isinstance(value, Counted)
        else value
        for name, value in metrics.items()
    }


def known(metrics: Mapping[str, float]) -> Metrics:
    """Return metrics as plain numbers, without those that the rows allowed no value of."""
    return {
        name: float(value) if isinstance(value, Counted) else value
        for name, value in metrics.items()
        if not (isinstance(value, Counted) and math.isnan(value))
    }


def over_rows(
    model: TrainableModel,
    metrics: PartyMetrics,
    sizes: Mapping[str, int],
    name: str,
    prefix: str = "",
) -> float:
    """Return a metric over the rows of all parties that have it, NaN where none has.

    Sums are added, and other values averaged by sizes.
    """
    if name not in model.added_metrics:
        return metric_mean(metrics, sizes, prefix + name)
    found = [of_party.get(prefix + name) for of_party in metrics.values()]
    counted = [value for value in found if isinstance(value, Counted)]
    return model.join_added(name, counted) if counted else math.nan


def joined_metrics(model: TrainableModel, measured: Sequence[tuple[int, Metrics]]) -> Metrics:
    """Return the metrics of several parts of rows together; see `LocalContext.join_metrics`."""
    added = model.added_metrics
    if not added:
        return mean_metrics(measured)
    plain = [
        (size, {name: value for name, value in metrics.items() if name not in added})
        for size, metrics in measured
    ]
    parts = {str(i): metrics for i, (_, metrics) in enumerate(measured) if metrics}
    return mean_metrics(plain) | {name: over_rows(model, parts, {}, name) for name in added}


class LatestCounts:
    """The last sums of each metric that each party sent, of which means over parties are made.

    errors: by metric over all parties, the bound of its difference from the exact value
    """

    def __init__(self, kept: Mapping[str, Any] | None = None) -> None:
        self._found: dict[str, dict[str, Counted]] = {
            party: {name: Counted(*entry) for name, entry in metrics.items()}
            for party, metrics in (kept or {}).items()
        }
        self.errors: dict[str, float] = {}

    def note_errors(self, metrics: Metrics) -> None:
        """Keep the bounds of metrics over all parties."""
        self.errors |= {
            name: value.error
            for name, value in metrics.items()
            if isinstance(value, Counted) and value.error
        }

    def notes(self) -> list[str]:
        """Return a sentence for each metric that is not exact in the digits that people read."""
        return [
            f"{name}: from counts of scores in bins, at most {error:.1g} from the exact value "
            "(exact where the scores in a bin are equal)"
            for name, error in self.errors.items()
            if error >= _VISIBLE
        ]

    def update(self, metrics: PartyMetrics) -> None:
        """Take over the sums in metrics of parties."""
        for party, found in metrics.items():
            counted = {name: value for name, value in found.items() if isinstance(value, Counted)}
            if counted:
                self._found.setdefault(party, {}).update(counted)

    def over(self, metrics: Mapping[str, Metrics]) -> dict[str, Metrics]:
        """Return metrics of parties with the sums in place of plain values."""
        return {
            party: {**metrics.get(party, {}), **self._found.get(party, {})}
            for party in dict.fromkeys([*metrics, *self._found])
        }

    def to_tree(self) -> dict[str, Any]:
        """Return all of it as plain data and arrays, as the constructor takes it."""
        return {
            party: {
                name: (float(value), dict(value.sums), value.weight, value.error)
                for name, value in metrics.items()
            }
            for party, metrics in self._found.items()
        }


def joined_parts(counted: Sequence[Counted]) -> tuple[list[Sums], list[float]]:
    """Return the sums of several values, and the weight of each."""
    return [value.sums for value in counted], [value.weight for value in counted]


def plain(record: RoundRecord) -> RoundRecord:
    """Return a record whose metrics are plain numbers, without the sums behind them."""
    return replace(
        record,
        metrics=known(record.metrics),
        party_metrics={party: known(found) for party, found in record.party_metrics.items()},
    )
