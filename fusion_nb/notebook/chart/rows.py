"""Rounds as rows of numbers, which the chart in the browser draws."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from fusion_nb.core.history import History, is_higher_better
from fusion_nb.core.types import Metrics, RoundRecord
from fusion_nb.notebook.chart.costs import COSTS, Costs, StepsOf, no_steps
from fusion_nb.reporting.charts.run_curves import COMPARED
from fusion_nb.reporting.templates import visible

#: More parties than this are a band and the worst of them, and no curve each.
MAX_PARTIES = 8
#: Rounds of another run that are sent at most, evenly chosen.
_MAX_ROUNDS = 2000

#: Returns some numbers of a round.
_Read = Callable[[RoundRecord], Sequence[float]]


class Rows:
    """The rounds of one run, packed as rows of 32-bit numbers.

    A row holds the round; whether weights travelled (2 of all parties, 1 of some, 0 of none); the
    costs so far; and for each metric the fused model, the models that it is compared with, and the
    parties, each NaN where it was not measured. `columns` describes them for the browser.
    """

    def __init__(
        self, parties: Sequence[str], metrics: Sequence[str], steps_of: StepsOf = no_steps
    ) -> None:
        self.columns: list[dict[str, Any]] = [{"role": "round"}, {"role": "sent"}]
        self.columns += [{"role": "cost", "name": name} for name in COSTS]
        self.changes: list[tuple[int, str]] = []
        self.count = 0
        self._packed = bytearray()
        self._readers: list[_Read] = [Costs(steps_of).add]
        for panel, metric in enumerate(metrics):
            self._add_models(panel, metric)
            if len(parties) > MAX_PARTIES:
                self._add_band(panel, metric, parties)
            else:
                self._add_parties(panel, metric, parties)

    def add(self, records: Sequence[RoundRecord]) -> None:
        """Add the rounds that are new in a list of all rounds."""
        for record in records[self.count :]:
            row = [float(record.round), _sent(record)]
            for read in self._readers:
                row += read(record)
            self._packed += array("f", row).tobytes()
            self.count += 1
            if record.changes:
                text = ", ".join(f"{name} {value}" for name, value in record.changes.items())
                self.changes.append((record.round, visible(text)))

    def packed(self, first: int = 0) -> bytes:
        """Return the rows from index `first` on."""
        return bytes(self._packed[first * 4 * len(self.columns) :])

    def _add_models(self, panel: int, metric: str) -> None:
        """Add the fused model, and those that it is compared with."""
        models = [("fused", "fused", metric)]
        models += [(start[:-1], label, start + metric) for start, (label, *_) in COMPARED.items()]
        for role, name, _ in models:
            self.columns.append({"role": role, "panel": panel, "name": name})
        keys = [key for *_, key in models]
        self._readers.append(lambda record: [record.metrics.get(key, math.nan) for key in keys])

    def _add_parties(self, panel: int, metric: str, parties: Sequence[str]) -> None:
        key = f"local_{metric}"
        for party in parties:
            self.columns.append({"role": "party", "panel": panel, "name": visible(party)})
        nothing: Metrics = {}

        def read(record: RoundRecord) -> list[float]:
            found = record.party_metrics
            return [found.get(party, nothing).get(key, math.nan) for party in parties]

        self._readers.append(read)

    def _add_band(self, panel: int, metric: str, parties: Sequence[str]) -> None:
        """Add the middle 80 % of the parties, and the worst of them with its number."""
        key, number = f"local_{metric}", {party: i for i, party in enumerate(parties)}
        worst = min if is_higher_better(metric) else max
        for part in ("low", "middle", "high"):
            self.columns.append(
                {"role": "band", "panel": panel, "name": "parties, middle 80 %", "part": part}
            )
        for part in ("y", "who"):
            self.columns.append(
                {"role": "worst", "panel": panel, "name": "worst party", "part": part}
            )

        def read(record: RoundRecord) -> list[float]:
            found = [
                (values[key], party)
                for party, values in record.party_metrics.items()
                if math.isfinite(values.get(key, math.nan))
            ]
            if not found:
                return [math.nan] * 5
            found.sort()
            last = len(found) - 1
            low, middle, high = (found[round(last * share)][0] for share in (0.1, 0.5, 0.9))
            value, party = worst(found)
            return [low, middle, high, value, number.get(party, math.nan)]

        self._readers.append(read)


def other_run(
    name: str, history: History, metrics: Sequence[str], steps_of: StepsOf = no_steps
) -> dict[str, Any]:
    """Return the fused model of another run for the browser: its rounds, costs and metrics."""
    step = max(1, math.ceil(len(history) / _MAX_ROUNDS))
    chosen = sorted({*range(0, len(history), step), *range(len(history))[-1:]})
    so_far = Costs(steps_of)
    costs = [tuple(so_far.add(record)) for record in history]
    known = history.metrics()
    columns = [history[metric] if metric in known else [] for metric in metrics]
    return {
        "name": visible(name),
        "rounds": array("f", [history[i].round for i in chosen]).tobytes(),
        "costs": {
            cost: array("f", [costs[i][place] for i in chosen]).tobytes()
            for place, cost in enumerate(COSTS)
        },
        "values": [
            array("f", [column[i] for i in chosen] if column else []).tobytes()
            for column in columns
        ],
    }


def _sent(record: RoundRecord) -> float:
    if not record.silent:
        return 2.0
    return 1.0 if record.synchronised else 0.0
