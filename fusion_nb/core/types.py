"""The nouns of a federation: what travels between parties and aggregator, and what an
implementation promises.

Dataclasses that travel are frozen. Arrays inside them are not to be written to by whoever receives
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

#: Every entry of a model's state by name, BatchNorm statistics and integer counters included.
Weights = dict[str, np.ndarray]
#: Plain numbers by name: `loss`, `accuracy`, `mae`, `train_loss`, ...
Metrics = dict[str, float]
#: Metrics by party.
PartyMetrics = Mapping[str, Mapping[str, float]]
#: What can be asked of a party. A closed set: a verb is never a method name taken off a wire.
Verb = Literal["collect", "prepare", "fit", "send", "adopt", "evaluate"]


@dataclass(frozen=True)
class Update:
    """A party's answer: the weights after local training, and the `num_examples` rows they rest on.

    `weights` is empty where nothing but metrics is asked for (`evaluate`). `extras` carries what
    one fusion needs beyond weights, such as control variates or word counts.
    """

    party: str
    weights: Weights
    num_examples: int
    metrics: Metrics = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unchanged:
    """A party's answer that it has nothing worth sending this round, with how far it has drifted.

    `extras` carries what little it reports instead of weights.
    """

    party: str
    num_examples: int
    divergence: float = 0.0
    metrics: Metrics = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A party's failure is an answer, not an exception of the loop.

    `error` is one line, `traceback` the text a person debugs with. `exception` is the object itself
    where the party lives in this process, and None where it came over a wire.
    """

    party: str
    error: str
    traceback: str = field(default="", repr=False)
    exception: BaseException | None = field(default=None, compare=False, repr=False)


#: What a party that did not fail answers.
Answer = Update | Unchanged
Reply = Answer | Failure


@dataclass(frozen=True)
class Trained:
    """What local training came to.

    metrics:   the model's own, such as the mean `loss` over the rows of the last pass
    num_steps: steps of the optimizer
    travel:    how far these steps carry a weight whose gradient is 1 all along: lr * num_steps for
               plain SGD, further with momentum. NaN for a model that does not tell.
    extras:    what else the model was asked for, such as weights that were trained beside these
    """

    weights: Weights
    metrics: Metrics
    num_steps: int
    travel: float
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Training:
    """One party's local training, as a model's `fit_together` gets it: from which weights, on which
    rows, and how.
    """

    weights: Weights
    data: Any
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Turn:
    """A party's turn in a round, as the party's side of a fusion sees it: what came, what it keeps,
    what it can do.

    weights:  the aggregator's;  received: what else came with them (a fusion's `send`)
    state:    what this party keeps for the fusion from one round to the next. Entries are replaced
              and never changed in place, since a round that is given up is trained again from the
              old ones.
    train:    `train(weights, name="", **options)` trains on the party's own rows, from any weights,
              with the options of the run and those given. A second training of a turn has a name,
              and so a random stream and an optimizer of its own.
    measure:  `measure(weights)` returns the metrics of any weights on the party's own training rows
    score:    `score(weights, rows=slice(None))` returns them on its own test rows, or on some of
              them; nothing where there are none, or where this round is not measured
    """

    party: str
    round: int
    weights: Weights
    received: Mapping[str, Any]
    state: dict[str, Any]
    num_examples: int
    num_test: int
    train: Callable[..., Trained]
    measure: Callable[[Weights], Metrics]
    score: Callable[..., Metrics]

    def update(self, weights: Weights, **extras: Any) -> Update:
        """Return the answer that sends weights, and what else the fusion needs."""
        return Update(self.party, weights, self.num_examples, extras=extras)

    def unchanged(self, divergence: float = 0.0, **extras: Any) -> Unchanged:
        """Return the answer that sends no weights."""
        return Unchanged(self.party, self.num_examples, divergence, extras=extras)


@dataclass(frozen=True)
class Change:
    """What is other from some round on.

    values: options of the run (lr, epochs, fraction, fusion) and their values
    fusion: the rule that the option `fusion` names, or None where the rule stays
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    fusion: Fusion | None = None

    def then(self, later: Change) -> Change:
        """Return this change with a later one over it."""
        return Change({**self.values, **later.values}, later.fusion or self.fusion)


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
    bytes_up/down:  weights, and what else a fusion needs, that parties sent and that were sent to
                    them
    failures:       the parties that did not answer
    silent:         the parties that trained and sent no weights
    bytes_fedavg:   what fedavg would have moved, both ways, with the same cohort
    changes:        options of the run that were other from this round on
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


@runtime_checkable
class Fusion(Protocol):
    """An aggregation rule: state in, state out, so that a run can be stopped and continued at any
    round.

    It may have more, each of which the loop looks for:

    meet(num_parties, trained, model)   told before `init`: how many parties there are; the names of
                             the entries that gradients train (the others are statistics, for which
                             no step but a mean makes sense); and the aggregator's own model, for
                             rules that look at what weights predict
    send(state) -> mapping   what the aggregator sends along with the weights
    down(weights) -> weights what of the weights goes to each party, where that is not all
    train(turn) -> reply     the party's side: what it does in its turn, in place of one training
                             from the weights
    sends_part = True        updates hold some of the entries alone
    keeps_layers = True      parties keep some entries to themselves, so that only they have a whole
                             model
    everyone = True          all parties must take part in every round
    may_be_silent = True     a party may train and send nothing
    keeps_partial = True     a straggler's partial work is of use
    needs_sgd = True         it makes sense with plain SGD alone (with momentum or without)
    needs_travel = True      it divides by how far steps travel, which a kept momentum would change
    min_updates              answers that a round needs at the least
    """

    #: Options that every party's model must honour during local training (FedProx's `mu`, say).
    local: Mapping[str, Any]

    def init(self, weights: Weights) -> Any:
        """Return the rule's state before the first round."""

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return new weights and new state. `updates` comes in party order and can be read once."""


class Synchronising(Fusion, Protocol):
    """A fusion whose parties keep their weights (`turn.state["weights"]`), and send them only when
    asked to.
    """

    def asks(self, reports: Sequence[Unchanged], state: Any) -> tuple[Sequence[str], Any]:
        """Return, once all have trained, who is to send its weights; they are asked one by one as
        `fuse` reads.
        """

    def adopt(self, weights: Weights, state: Any) -> Weights:
        """Return what those who sent their weights go on from, once `fuse` has returned these."""


@runtime_checkable
class Engine(Protocol):
    """A transport: carries a verb to parties and yields their replies in the order of the
    cohort.
    """

    def start(self, parties: Sequence[Any], model: Any, gate: Callable[[], None]) -> None:
        """Take charge of the parties. `gate` is called between batches: it may block (pause) or
        raise Stopped.
        """

    def run(self, verb: Verb, cohort: Sequence[str], **orders: Any) -> Iterator[Reply]:
        """Ask each party of the cohort, and yield one reply for each."""

    def close(self) -> None:
        """Let go of workers. Safe to call twice."""


class Split(Protocol):
    """Divides rows among parties: returns one array of row indices for each; every row exactly
    once.
    """

    def __call__(
        self, labels: np.ndarray, num_parties: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return the row indices of each party."""
