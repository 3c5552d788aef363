"""The nouns of a federation: requests to parties, their replies, and the record of a round.

All of them are frozen dataclasses, and none of them knows a framework. Arrays inside them are
shared: a receiver must not write to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np

from fusion_nb.errors import ContractError

#: Every entry of a model's state by name, BatchNorm statistics and integer counters included.
Weights = dict[str, np.ndarray]
#: Plain numbers by name: `loss`, `accuracy`, `mae`, `train_loss`, ...
Metrics = dict[str, float]
#: Metrics by party.
PartyMetrics = Mapping[str, Mapping[str, float]]


# Replies: what a party sends back.


@dataclass(frozen=True)
class Update:
    """A party's weights after local training, and the `num_examples` rows that they rest on.

    `weights` is empty where a request asks for metrics or extras only. `extras` carries what one
    fusion needs beyond weights, such as control variates or word counts.
    """

    party: str
    weights: Weights
    num_examples: int
    metrics: Metrics = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NoUpdate:
    """A party's report that it trained and has nothing worth sending this round.

    divergence: how far its weights are from those that it started from, as its fusion measures it
    extras:     the few numbers that it reports in place of weights
    """

    party: str
    num_examples: int
    divergence: float = 0.0
    metrics: Metrics = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A party's failure, which is a reply and not an exception of the loop.

    error:     one line;  traceback: the text that a person debugs with
    exception: the object itself where the party lives in this process, None where it came over a
               wire
    """

    party: str
    error: str
    traceback: str = field(default="", repr=False)
    exception: BaseException | None = field(default=None, compare=False, repr=False)


#: The reply of a party that did not fail.
Answer = Update | NoUpdate
Reply = Answer | Failure


# Local training.


@dataclass(frozen=True)
class TrainingResult:
    """The result of one local training, as `Model.fit` returns it.

    weights:             a copy that belongs to the caller
    metrics:             the model's own, such as the mean `loss` over the rows of the last pass
    num_steps:           steps that the optimizer took
    effective_step_size: the distance that a weight with the constant gradient 1 moves in these
                         steps: lr * num_steps for plain SGD, more with momentum; NaN if unknown
    extras:              further results that were asked for, such as a second model's weights
    """

    weights: Weights
    metrics: Metrics
    num_steps: int
    effective_step_size: float
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingTask:
    """One party's local training, for a model that trains several of them as one."""

    weights: Weights
    data: Any
    options: Mapping[str, Any]


class TrainFunction(Protocol):
    """Trains on a party's own rows; see `LocalContext.train`."""

    def __call__(self, weights: Weights, name: str = "", **options: Any) -> TrainingResult:
        """Return the result of a training that starts from these weights."""


class EvaluateTestFunction(Protocol):
    """Evaluates weights on a party's own test rows; see `LocalContext.evaluate_test`."""

    def __call__(self, weights: Weights, rows: slice = slice(None)) -> Metrics:
        """Return the metrics on the test rows, or on some of them."""


@dataclass(frozen=True)
class FederationInfo:
    """The facts about a federation that a fusion may use, known before round 1.

    num_parties: parties of the federation, whether they are sampled or not
    entries:     names of all entries of the weights, in the model's order
    trained:     names of the entries that gradients train; the others are statistics and counters,
                 for which no step but a mean makes sense
    batch_norm:  names of the entries of batch normalization layers
    """

    num_parties: int
    entries: tuple[str, ...]
    trained: frozenset[str]
    batch_norm: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LocalContext:
    """A party's view of a round, passed to `Fusion.local_update`.

    weights:   those of the aggregator;  broadcast: the extras that came with them
    state:     entries that this party keeps for the fusion from one round to the next. Replace
               entries and never change them in place: a round that is given up is trained again
               from the old ones. Three names have a meaning for the loop, where they are there:
               "weights" (the party continues from them), "personal" (its own model) and "layers"
               (entries that replace those of the fused model at this party).
    num_examples, num_test: the party's training and test rows
    train:     `train(weights, name="", **options)` trains on the party's own rows from any weights,
               with the options of the run and those given. A second training in a round has a name,
               and with it a random stream and an optimizer of its own.
    evaluate_train: `evaluate_train(weights)` returns metrics on the party's own training rows
    evaluate_test: `evaluate_test(weights, rows=slice(None))` returns metrics on its own test rows,
                   or on some of them; nothing without test rows, or in a round without measurement
    """

    party: str
    round: int
    weights: Weights
    broadcast: Mapping[str, Any]
    state: dict[str, Any]
    num_examples: int
    num_test: int
    info: FederationInfo
    train: TrainFunction
    evaluate_train: Callable[[Weights], Metrics]
    evaluate_test: EvaluateTestFunction

    def update(self, weights: Weights, **extras: Any) -> Update:
        """Return the answer that sends weights, and extras for the fusion."""
        if isinstance(weights, TrainingResult):
            raise ContractError(
                "context.update() takes weights, and was given a TrainingResult",
                "write context.update(result.weights)",
            )
        return Update(self.party, weights, self.num_examples, extras=extras)

    def no_update(self, divergence: float = 0.0, **extras: Any) -> NoUpdate:
        """Return the answer that sends no weights."""
        return NoUpdate(self.party, self.num_examples, divergence, extras=extras)


#: The party's half of a fusion.
LocalUpdate = Callable[[LocalContext], Answer]


# Requests: a closed set. What a party does follows from the type of the request that it gets.


@dataclass(frozen=True)
class CollectRequest:
    """Round 0: report what the parties need to agree on, such as word counts."""


@dataclass(frozen=True)
class PrepareRequest:
    """Round 0: take over what the parties agreed on, such as a vocabulary."""

    agreed: Any


@dataclass(frozen=True)
class RoundRequest:
    """Train in a round, or take part in a step after the last one.

    round:         1 for the first; a step after the last one has the number 0, as no training has
    weights:       the aggregator's, or the part of them that travels;  broadcast: extras with them
    options:       of `Model.fit`: epochs, batch_size, lr, optimizer, the fusion's client options
    seed:          of the run; each (seed, round, party) has its own random stream
    info:          facts about the federation
    local_update:  the party's half of the fusion; None for one training from the weights
    party_options: by party, options that replace those above (stragglers)
    is_measured:   whether parties evaluate on their test rows;  num_test_rows: on at most that many
                   of them, or 0 for all
    fusion_since:  first round of this fusion; what a party kept for an earlier one is dropped
    """

    round: int
    weights: Weights
    broadcast: Mapping[str, Any]
    options: Mapping[str, Any]
    seed: int
    info: FederationInfo
    local_update: LocalUpdate | None = None
    party_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    is_measured: bool = True
    num_test_rows: int = 0
    fusion_since: int = 0


@dataclass(frozen=True)
class SendRequest:
    """Send the weights that the party kept; see `Synchronising`."""


@dataclass(frozen=True)
class AdoptRequest:
    """Continue from these weights in place of those that the party kept; see `Synchronising`."""

    weights: Weights


@dataclass(frozen=True)
class EvaluateRequest:
    """Evaluate weights on the party's own test rows.

    costly:        evaluate the model's costly metrics too
    num_test_rows: at most that many test rows, always the same ones for a seed; 0 for all
    """

    weights: Weights
    costly: bool = False
    num_test_rows: int = 0
    seed: int = 0


Request = (
    CollectRequest | PrepareRequest | RoundRequest | SendRequest | AdoptRequest | EvaluateRequest
)
#: `(request, cohort) -> replies`: how a request reaches the parties, as `Engine.run`.
Ask = Callable[[Request, Sequence[str]], Iterator[Reply]]


# The state and the record of a run.


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

    @property
    def synchronised(self) -> bool:
        """Whether any party's weights travelled in this round."""
        return len(self.silent) + len(self.failures) < len(self.cohort)
