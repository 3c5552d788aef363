"""The step after the last round, in which parties may get models of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fusion_nb.core.evaluation import add_metrics
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import FederationView, Fusion, PostTraining
from fusion_nb.core.types import Failure, Metrics, PartyMetrics, RoundRecord


@dataclass
class PostTrainingStep:
    """The step after the last round, done once for each number of rounds.

    step:     None leaves it to the fusion, which may have a step of its own
    parties:  those that hold models of their own after it, where they are not the federation's
    failures: of the parties in the last such step
    """

    step: PostTraining | None = None
    parties: Sequence[Party] = ()
    failures: tuple[Failure, ...] = ()
    _done_after: int = 0

    def run(self, federation: FederationView, fusion: Fusion) -> PartyMetrics | None:
        """Do the step and return each party's metrics; None where there is nothing to do."""
        num_rounds = len(federation.history)
        step = self.step or (fusion.post_training if fusion.has_post_training else None)
        if step is None or not num_rounds or self._done_after == num_rounds:
            return None
        self.failures = ()
        found = step(federation)
        self._done_after = num_rounds
        return found


def with_personal_metrics(record: RoundRecord, found: PartyMetrics) -> RoundRecord:
    """Return the last record with the metrics of parties' own models after that step.

    What else was measured belongs to a training that is part of no round.
    """
    per_party: dict[str, Metrics] = {
        party: dict(metrics) for party, metrics in record.party_metrics.items()
    }
    add_metrics(per_party, {party: _personal(metrics) for party, metrics in found.items()})
    return replace(record, party_metrics=per_party)


def _personal(metrics: Mapping[str, float]) -> Metrics:
    return {name: value for name, value in metrics.items() if name.startswith("personal_")}
