"""The demands of a fusion, the state of a run, and the record of a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fusion_nb.core.clock.trips import Trip
from fusion_nb.core.types.replies import Failure, Metrics, Weights


@dataclass(frozen=True)
class Requirements:
    """The demands of a fusion on the rest of a run. The defaults demand nothing.

    full_participation:  all parties must take part in every round
    plain_sgd:           it makes sense with plain SGD only (with momentum or without)
    effective_step_size: it divides by `TrainingResult.effective_step_size`, which a momentum that
                         is kept between rounds would change
    min_updates:         updates that a round needs
    no_update_allowed:   a party may train and send no update
    uses_partial_work:   the partial work of a straggler is of use
    partial_updates:     updates hold some of the entries only
    empty_rounds:        a round without parties is aggregated too, so that nobody learns of it
    local_layers:        parties keep some entries to themselves, so that only they have a whole
                         model
    """

    full_participation: bool = False
    plain_sgd: bool = False
    effective_step_size: bool = False
    min_updates: int = 1
    no_update_allowed: bool = False
    uses_partial_work: bool = False
    partial_updates: bool = False
    local_layers: bool = False
    empty_rounds: bool = False

    def merged(self, other: Requirements) -> Requirements:
        """Return requirements that satisfy both.

        >>> Requirements(min_updates=3).merged(Requirements(plain_sgd=True)).min_updates
        3
        """
        # The larger demand: True is larger than False.
        names = [each.name for each in fields(Requirements)]
        return Requirements(**{n: max(getattr(self, n), getattr(other, n)) for n in names})


@dataclass(frozen=True)
class ServerState:
    """The aggregator's state after a whole round: with the parties' states, all that a run needs.

    round: 0 before the first round;  fusion_state: whatever the fusion's `aggregate` returned
    """

    round: int
    weights: Weights
    fusion_state: Any


@dataclass(frozen=True)
class RoundRecord:
    """One whole round, as plot, panel, checkpoint, stream, early stopping and test all see it.

    round:          1 for the first round
    metrics:        the fused model's `loss`, `accuracy` (or `mse`, `mae`) on the central test set,
                    or else over all parties' own test rows; and `train_loss`, the cohort's mean
                    over its training rows
    party_metrics:  per party `train_loss`, `local_loss`, `local_accuracy` (its own model after
                    local training, before fusion, for parties in the cohort) and `loss`, `accuracy`
                    (the fused model), on its own test rows
    cohort:         the parties that were asked to train, in party order
    seconds:        wall time of the round, evaluation and baselines included
    bytes_up/down:  weights, and extras of the fusion, that parties sent and that were sent to them
    failures:       the parties that did not answer
    silent:         the parties that trained and sent no weights
    bytes_fedavg:   bytes that fedavg would have moved, both ways, with the same cohort
    changes:        options of the run that changed in this round
    trips:          times of the parties, simulated, or real ones of an asynchronous run in real
                    time; none in other runs
    """

    round: int
    metrics: Metrics
    party_metrics: Mapping[str, Metrics]
    cohort: tuple[str, ...]
    seconds: float
    bytes_up: int
    bytes_down: int
    failures: tuple[Failure, ...] = ()
    silent: tuple[str, ...] = ()
    bytes_fedavg: int = 0
    changes: Mapping[str, Any] = field(default_factory=dict)
    trips: Mapping[str, Trip] = field(default_factory=dict)

    @property
    def synchronised(self) -> bool:
        """Whether any party's weights travelled in this round."""
        return len(self.silent) + len(self.failures) < len(self.cohort)
