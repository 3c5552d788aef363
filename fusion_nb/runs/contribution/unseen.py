"""Parties that never train: how good the fused model is for newcomers.

The gap between parties that take part and others is that of Honglin Yuan, Warren Morningstar, Lin
Ning and Karan Singhal, "What do we mean by generalization in federated learning?", ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fusion_nb.core import contracts, seeds
from fusion_nb.core import rows as rows_of
from fusion_nb.core.counts import known
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.types import Metrics
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import OptionError, option


def without_unseen(data: PartitionedData, count: int | None, seed: int) -> PartitionedData:
    """Return the data with that number of parties, drawn by the seed, set apart as unseen.

    Raises OptionError where no party would be left to train.
    """
    if not count:
        return data
    training = [party.id for party in data.parties if party.trains]
    if count >= len(training):
        raise OptionError(
            f"{option('unseen', count)} of {len(training)} parties that train leaves none",
            f"give at most {len(training) - 1}, or use more {option('parties')}",
        )
    drawn = {training[i] for i in seeds.some(seed, len(training), count, "unseen")}
    kept = tuple(party for party in data.parties if party.id not in drawn)
    away = tuple(party for party in data.parties if party.id in drawn)
    encoded = " (they count in the table's statistics)" if data.schema.table is not None else ""
    verb, whose = ("trains", "its") if count == 1 else ("train", "their")
    note = (
        f"unseen: {', '.join(party.id for party in away[:5])}"
        f"{f' and {len(away) - 5} more' if len(away) > 5 else ''} never {verb}{encoded}; the fused "
        f"model is measured on all of {whose} rows after the last round"
    )
    labels = {party: of_party for party, of_party in data.labels.items() if party not in drawn}
    notes = (*data.notes, note)
    return replace(data, parties=kept, unseen=away, labels=labels, notes=notes)


class Unseen:
    """The fused model on the rows of parties that never trained.

    parties: those;  metrics: by party, after the last measurement;  joint: over all their rows
    """

    def __init__(self, parties: Sequence[Party]) -> None:
        self.parties = tuple(parties)
        self.metrics: dict[str, Metrics] = {}
        self.joint: Metrics = {}

    def measure(self, federation: Federation) -> None:
        """Measure the fused model of the last whole round."""
        if not self.parties:
            return
        model = federation.model.clone()
        model.set_weights(federation.weights)
        every = {party.id: all_rows(party) for party in self.parties}
        self.metrics = {
            party: known(contracts.evaluate(model, rows)) for party, rows in every.items()
        }
        joined = rows_of.concat([*every.values()])
        self.joint = known(contracts.evaluate(model, joined))

    def measured(self) -> list[tuple[str, int, Metrics]]:
        """Return each party with its number of rows and its metrics, once they are measured."""
        sizes = {party.id: party.num_examples + party.num_test for party in self.parties}
        return [(party, sizes[party], metrics) for party, metrics in self.metrics.items()]

    def note(self, metric: str, seen: float) -> str:
        """Return a sentence that compares unseen parties with the others, or ""."""
        if metric not in self.joint:
            return ""
        word = "party" if len(self.parties) == 1 else "parties"
        return (
            f"unseen: {metric} {self.joint[metric]:.4g} over {len(self.parties)} {word} that "
            f"never trained, {seen:.4g} for the run"
        )


def all_rows(party: Party) -> object:
    """Return all rows of a party that never trained: none of them was seen."""
    return party.train if party.test is None else rows_of.concat([party.train, party.test])
