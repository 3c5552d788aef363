"""A federation after a whole round, as plain data from which another one continues."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.core.clock.trips import trips_from_json, trips_to_json
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import Change
from fusion_nb.core.types import Failure, RoundRecord, ServerState

#: Stands for each state that is of no more use: there may be thousands in every round. States are
#: replaced and never written to, and a worker is sent them, so that it is a plain dictionary.
_NOTHING: dict[str, Any] = {}


@dataclass(frozen=True)
class Snapshot:
    """The state of a federation after a whole round. Its arrays are shared and never written to.

    parties: each party's persistent state, by its id
    changes: by round, options that changed or will change from that round on
    counts:  the sums behind the parties' metrics, as `LatestCounts` keeps them
    """

    state: ServerState | None = None
    history: tuple[RoundRecord, ...] = ()
    parties: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, federation: Federation) -> Snapshot:
        """Return the snapshot of a federation that is between two rounds."""
        return cls(
            federation.state,
            tuple(federation.history),
            {party.id: _state_of(party) for party in federation.parties},
            {number: dict(change.values) for number, change in federation.plan.changes.items()},
            federation.counts.to_tree(),
        )

    def give_states(self, parties: Iterable[Party]) -> None:
        """Give parties their persistent states back. Raises KeyError for a party without one."""
        for party in parties:
            party.persistent_state = self.parties[party.id]

    def changes_without_fusions(self) -> dict[int, Change]:
        """Return the changes of a federation whose fusion never changes."""
        return {number: Change(values) for number, values in self.changes.items()}

    def to_tree(self) -> dict[str, Any]:
        """Return all of it, as the tree that `from_tree` takes."""
        state = self.state
        return {
            "state": None if state is None else (state.round, state.weights, state.fusion_state),
            "history": [record_to_json(record) for record in self.history],
            "parties": dict(self.parties),
            "changes": {number: dict(values) for number, values in self.changes.items()},
            **({"counts": dict(self.counts)} if self.counts else {}),
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Snapshot:
        """Return the snapshot that `to_tree` made a tree of."""
        return cls(
            None if tree["state"] is None else ServerState(*tree["state"]),
            tuple(record_from_json(found) for found in tree["history"]),
            tree["parties"],
            tree["changes"],
            tree.get("counts", {}),
        )


def record_to_json(record: RoundRecord) -> dict[str, Any]:
    """Return a record as values that JSON can hold.

    Unlike in `to_dict`, numbers that are not finite become text, and failures keep their
    tracebacks, so that nothing is lost.
    """
    fields = {**vars(record)}  # no copy, unlike `to_dict`: it may hold thousands of parties
    trips = trips_to_json(fields.pop("trips"))
    return {
        **fields,
        "metrics": _to_json(record.metrics),
        "party_metrics": {
            party: _to_json(metrics) for party, metrics in record.party_metrics.items()
        },
        "failures": [[f.party, f.error, f.traceback] for f in record.failures],
        "cohort": list(record.cohort),
        "silent": list(record.silent),
        "changes": dict(record.changes),
        **({"trips": trips} if trips else {}),
    }


def record_from_json(found: Mapping[str, Any]) -> RoundRecord:
    """Return the record that `record_to_json` made these values of."""
    return RoundRecord(
        **{
            **found,
            "metrics": _from_json(found["metrics"]),
            "party_metrics": {
                party: _from_json(metrics) for party, metrics in found["party_metrics"].items()
            },
            "cohort": tuple(found["cohort"]),
            "failures": tuple(Failure(*failure) for failure in found["failures"]),
            "silent": tuple(found["silent"]),
            "trips": trips_from_json(found.get("trips", {})),
        }
    )


def _state_of(party: Party) -> Any:
    """Return a party's persistent state, without the state before the last round where it is of no
    more use: a whole round is not asked for again, but the step after the last round (0) may be.
    """
    kept = party.persistent_state
    if kept is None:
        return None
    state, round, before = kept
    return kept if round == 0 or not before else (state, round, _NOTHING)


def _to_json(metrics: Mapping[str, float]) -> Mapping[str, float | str]:
    if all(map(math.isfinite, metrics.values())):
        return metrics
    return {
        name: value if math.isfinite(value) else repr(float(value))
        for name, value in metrics.items()
    }


def _from_json(metrics: Mapping[str, float | str]) -> dict[str, float]:
    return {
        name: float(value) if isinstance(value, str) else value for name, value in metrics.items()
    }
