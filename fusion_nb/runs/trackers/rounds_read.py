"""The rounds of a stored run as records, and the options that trackers keep as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fusion_nb.core.history import History
from fusion_nb.core.protocols.tracker import StoredRun
from fusion_nb.core.types import Metrics, RoundRecord
from fusion_nb.errors import FusionError
from fusion_nb.runs.spec import RunSpec

#: Names under which the costs of a round are logged, beside its metrics.
COSTS = ("seconds", "bytes_up", "bytes_down", "failures")
_PARTY = "party/"


def history_of(stored: StoredRun) -> History:
    """Return the rounds of a stored run, in order; cohorts and failures are not kept."""
    return History(
        _record(number, metrics) for number, metrics in sorted(stored.rounds.items()) if metrics
    )


def _record(number: int, metrics: Metrics) -> RoundRecord:
    parties: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        if name.startswith(_PARTY):
            party, _, metric = name.removeprefix(_PARTY).rpartition("/")
            parties.setdefault(party, {})[metric] = value
    costs = {name: metrics.get(name, math.nan) for name in COSTS}
    return RoundRecord(
        round=number,
        metrics={
            name: value
            for name, value in metrics.items()
            if name not in COSTS and not name.startswith(_PARTY)
        },
        party_metrics=parties,
        cohort=tuple(parties),
        seconds=costs["seconds"],
        bytes_up=_count(costs["bytes_up"]),
        bytes_down=_count(costs["bytes_down"]),
    )


def options_of(stored: StoredRun) -> dict[str, Any]:
    """Return the options of a stored run as a spec has them."""
    return {name: _option(name, value) for name, value in stored.params.items()}


def _option(name: str, value: Any) -> Any:
    if name not in RunSpec.model_fields:
        return value
    try:
        return RunSpec(**{name: value}).model_dump()[name]
    except FusionError:  # of another version, which allowed it
        return value


def lacks_of(stored: StoredRun, history: History) -> tuple[str, ...]:
    """Return the parts of a run that its tracker did not keep, in words."""
    found = ["gradient steps", *stored.lacks]
    if not any(record.party_metrics for record in history):
        found.append("metrics of parties")
    if not any(record.bytes_up or record.bytes_down for record in history):
        found.append("bytes")
    if "fusion_nb.monitor" not in stored.tags:
        found.append("the monitored metric")
    return tuple(found)


def is_tag(name: str) -> bool:
    """Return whether a name is one of a tag, where a tracker keeps these among the parameters."""
    return name.startswith("fusion_nb.") or name in ("python", "_wandb")


def by_round(values: Mapping[str, Mapping[int, float]]) -> dict[int, Metrics]:
    """Return the metrics of each round from the rounds of each metric."""
    found: dict[int, dict[str, float]] = {}
    for name, steps in values.items():
        for step, value in steps.items():
            if step > 0:
                found.setdefault(step, {})[name] = value
    return dict(found)


def _count(value: float) -> int:
    return int(value) if math.isfinite(value) else 0
