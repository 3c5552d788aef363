"""Local training: its result, and the view of a round that a party gives its fusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from fusion_nb.core.types.replies import Answer, Metrics, NoUpdate, Update, Weights
from fusion_nb.errors import ContractError


@dataclass(frozen=True)
class TrainingResult:
    """The result of one local training, as `Model.fit` returns it.

    weights:             a copy that belongs to the caller
    metrics:             the model's own, such as the mean `loss` over the rows of the last pass
    num_steps:           steps that the optimizer took
    effective_step_size: the distance that a weight with the constant gradient 1 moves in these
                         steps: lr * num_steps for plain SGD, more with momentum; NaN if unknown
    extras:              further results that were asked for, such as a second model's weights
    tells_loss:          whether `loss` is among the metrics; an app of a party may tell none
    """

    weights: Weights
    metrics: Metrics
    num_steps: int
    effective_step_size: float
    extras: Mapping[str, Any] = field(default_factory=dict)
    tells_loss: bool = True


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

    num_parties: parties of the federation that train, whether they are sampled or not
    parties:     their ids
    entries:     names of all entries of the weights, in the model's order
    trained:     names of the entries that gradients train; the others are statistics and counters,
                 for which no step but a mean makes sense
    batch_norm:  names of the entries of batch normalization layers
    """

    num_parties: int
    entries: tuple[str, ...]
    trained: frozenset[str]
    batch_norm: frozenset[str] = frozenset()
    parties: tuple[str, ...] = ()


def mean_metrics(measured: Sequence[tuple[int, Metrics]]) -> Metrics:
    """Return the means of metrics over parts of rows, each given with its number of rows.

    Parts without metrics are left out.
    """
    present = [(size, metrics) for size, metrics in measured if metrics]
    total = sum(size for size, _ in present)
    names = {name for _, metrics in present for name in metrics}
    return {
        name: sum(size * metrics[name] for size, metrics in present) / total
        for name in sorted(names)
    }


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
    join_metrics: `join_metrics([(num_rows, metrics), ...])` returns the metrics of several parts of
                   the test rows together
    secrets:   entries that this party keeps for further steps of the round (`Exchanging`) and
               forgets after it. They get into no checkpoint.
    seed:      of the run; a party that tells nobody its random numbers has one of its own
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
    join_metrics: Callable[[Sequence[tuple[int, Metrics]]], Metrics] = mean_metrics
    secrets: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

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
