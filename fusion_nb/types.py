"""The nouns of a federation: what travels between parties and aggregator, and what an implementation promises.

Dataclasses that travel are frozen. Arrays inside them are not to be written to by whoever receives them.
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
#: What can be asked of a party. A closed set: a verb is never a method name taken off a wire.
Verb = Literal["collect", "prepare", "fit", "evaluate"]


@dataclass(frozen=True)
class Update:
    """A party's answer: the weights after local training, and the `num_examples` rows they rest on.

    `weights` is empty where nothing but metrics is asked for (`evaluate`). `extras` carries what one
    fusion needs beyond weights, such as control variates or word counts.
    """

    party: str
    weights: Weights
    num_examples: int
    metrics: Metrics = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Unchanged:
    """A party's answer that it has nothing worth sending this round, with how far it has drifted."""

    party: str
    num_examples: int
    divergence: float = 0.0
    metrics: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A party's failure is an answer, not an exception of the loop.

    `error` is one line, `traceback` the text a person debugs with. `exception` is the object itself where
    the party lives in this process, and None where it came over a wire.
    """

    party: str
    error: str
    traceback: str = field(default="", repr=False)
    exception: BaseException | None = field(default=None, compare=False, repr=False)


Reply = Update | Unchanged | Failure


@dataclass(frozen=True)
class RoundRecord:
    """One whole round, as plot, panel, checkpoint, stream, early stopping and test all see it.

    round:          1 for the first round
    metrics:        the fused model's `loss`, `accuracy` (or `mse`, `mae`) on the central test set, or else over all
                    parties' own test rows; and `train_loss`, the cohort's mean over its training rows
    party_metrics:  per party `train_loss`, `local_loss`, `local_accuracy` (its own model after local training, before
                    fusion, for parties in the cohort) and `loss`, `accuracy` (the fused model), on its own test rows
    cohort:         the parties that were asked to train, in party order
    seconds:        wall time of the round, evaluation included
    bytes_up/down:  weights that parties sent, and that were sent to them
    failures:       the parties that did not answer with an update
    """

    round: int
    metrics: Metrics
    party_metrics: Mapping[str, Metrics]
    cohort: tuple[str, ...]
    seconds: float
    bytes_up: int
    bytes_down: int
    failures: tuple[Failure, ...] = ()


@runtime_checkable
class Fusion(Protocol):
    """An aggregation rule: state in, state out, so that a run can be stopped and continued at any round."""

    #: Options that every party's model must honour during local training (FedProx's `mu`, say).
    local: Mapping[str, Any]

    def init(self, weights: Weights) -> Any:
        """Return the rule's state before the first round."""

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return new weights and new state. `updates` comes in party order and can be read once."""


@runtime_checkable
class Engine(Protocol):
    """A transport: carries a verb to parties and yields their replies in the order of the cohort."""

    def start(self, parties: Sequence[Any], model: Any, gate: Callable[[], None]) -> None:
        """Take charge of the parties. `gate` is called between batches: it may block (pause) or raise Stopped."""

    def run(self, verb: Verb, cohort: Sequence[str], **orders: Any) -> Iterator[Reply]:
        """Ask each party of the cohort, and yield one reply for each."""

    def close(self) -> None:
        """Let go of workers. Safe to call twice."""


class Split(Protocol):
    """Divides rows among parties: returns one array of row indices for each; every row exactly once."""

    def __call__(self, labels: np.ndarray, num_parties: int, rng: np.random.Generator) -> list[np.ndarray]:
        """Return the row indices of each party."""
