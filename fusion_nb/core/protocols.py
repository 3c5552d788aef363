"""The contracts of a fusion, a model, an engine, an attack and a baseline.

Each is read in one screen, has defaults for what is optional, and shows a complete toy. A fusion,
an engine or a model that misses an abstract method can't be made.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import numpy as np

from fusion_nb.core.history import History
from fusion_nb.core.types import (
    Answer,
    FederationInfo,
    LocalContext,
    LocalUpdate,
    Metrics,
    NoUpdate,
    PartyMetrics,
    Reply,
    Request,
    Requirements,
    RoundRequest,
    ServerState,
    TrainingResult,
    TrainingTask,
    Update,
    Weights,
)


class Fusion(ABC):
    """An aggregation rule: state in, state out, so that a run can be continued at any round.

    A rule keeps its options on itself and nothing else: what it remembers between rounds is the
    state that `init` and `aggregate` return, or `context.state` at each party.

    >>> from fusion_nb.core.arithmetic import tree_map, weighted_mean
    >>> class Slow(Fusion):
    ...     "Move the weights half of the way to the parties' mean."
    ...     def aggregate(self, weights, updates, state):
    ...         mean = weighted_mean(updates, lambda update: update.num_examples)
    ...         return tree_map(lambda old, new: (old + new) / 2, weights, mean), state
    >>> sent = [Update("party 1", {"w": np.array([2.0])}, 10)]
    >>> Slow().aggregate({"w": np.array([0.0])}, iter(sent), None)[0]
    {'w': array([1.])}
    """

    #: What it demands of the rest of a run.
    requires: Requirements = Requirements()
    #: Options of `Model.fit` that every party must honour, with their values (FedProx's `mu`).
    client_options: Mapping[str, Any] = MappingProxyType({})
    #: Whether `post_training` does anything.
    has_post_training: bool = False
    #: Whether it is made around another rule, which is then its first argument (`FusionWrapper`).
    wraps_another: ClassVar[bool] = False

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the rule's state before its first round; None for a rule without a state."""
        return None

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return extras that the aggregator sends along with the weights."""
        return {}

    def shared_weights(self, weights: Weights, state: Any) -> Weights:
        """Return the entries of the weights that travel to the parties."""
        return weights

    def local_update(self, context: LocalContext) -> Answer:
        """Return a party's answer in a round: one training from the weights, unless overridden.

        It runs where the party is, so that the rule must be picklable where this is overridden.
        """
        return context.update(context.train(context.weights).weights)

    @abstractmethod
    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the new weights and the new state.

        weights: those before the round;  updates: in party order, to be read once
        """

    @property
    def synchronising(self) -> Synchronising | None:
        """The rule that decides when parties synchronise; None where they send in every round."""
        return None

    def post_training(self, federation: FederationView) -> PartyMetrics:
        """Do the step after the last round, and return each party's metrics.

        It is called where `has_post_training`.
        """
        return {}


class Synchronising(Fusion):
    """A fusion whose parties keep their weights and send them only when they are selected.

    A party's `local_update` keeps `context.state["weights"]` and returns a `NoUpdate`. Then
    `select_senders` names those who send; `aggregate` reads their updates; and those who sent
    continue from what `after_sync` returns.

    >>> class Always(Synchronising):
    ...     "Synchronise all parties in every round."
    ...     def local_update(self, context):
    ...         start = context.state.get("weights", context.weights)
    ...         context.state["weights"] = context.train(start).weights
    ...         return context.no_update()
    ...     def select_senders(self, reports, state):
    ...         return [report.party for report in reports], state
    ...     def aggregate(self, weights, updates, state):
    ...         return max(updates, key=lambda update: update.num_examples).weights, state
    >>> Always().select_senders([NoUpdate("party 1", 10)], None)
    (['party 1'], None)
    """

    @abstractmethod
    def local_update(self, context: LocalContext) -> Answer:
        """Train, keep the weights in `context.state`, and return a `NoUpdate`."""

    @abstractmethod
    def select_senders(self, reports: Sequence[NoUpdate], state: Any) -> tuple[Sequence[str], Any]:
        """Return the parties that are to send their weights, in that order, and the new state.

        They are asked one by one, as `aggregate` reads.
        """

    def after_sync(self, weights: Weights, state: Any) -> Weights:
        """Return the weights from which those who sent continue: the fused ones by default."""
        return weights

    @property
    def synchronising(self) -> Synchronising | None:
        """Itself."""
        return self


class Model(Protocol):
    """A model of any framework, as the loop, the engines and the algorithms use it.

    `fusion_nb.models.base.Model` is the base class of adapters. It satisfies this protocol, and
    shows a complete toy.
    """

    #: Called between two batches: it may block (pause) or raise Stopped.
    gate: Callable[[], None]
    #: Cores that `evaluate` may use.
    num_cores: int

    @property
    def kind(self) -> str:
        """The word for a model of this kind in messages."""

    @property
    def supported_options(self) -> frozenset[str]:
        """Options of a run that `fit` takes and that not every kind of model has."""

    @property
    def supported_client_options(self) -> frozenset[str]:
        """Options of fusions that `fit` honours."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that a run measures; the first is monitored by default."""

    @property
    def train_metrics(self) -> tuple[str, ...]:
        """Those of `metrics` that a party measures on its own training rows and state."""

    @property
    def costly_metrics(self) -> tuple[str, ...]:
        """Those of `metrics` that are measured every few rounds, and in the last."""

    @property
    def has_lr_schedule(self) -> bool:
        """Whether `fit` takes `progress=(from, to)`, the part of a run (0 to 1) that it trains."""

    @property
    def min_rows(self) -> int:
        """Training rows that every party must have."""

    @property
    def ignored_label(self) -> int | None:
        """The label that marks places which count neither in the loss nor in metrics, or None."""

    @property
    def single_model(self) -> Model:
        """The model that one party trains: itself, unless it holds several."""

    @property
    def thread_safe(self) -> bool:
        """Whether copies may train at the same time, each in a thread of its own."""

    def single_threaded(self) -> AbstractContextManager[Any]:
        """Return a context in which the work of a thread stays on one core."""

    def clone(self) -> Model:
        """Return an independent copy, for a worker."""

    def get_weights(self) -> Weights:
        """Return a copy of every entry of the model's state."""

    def set_weights(self, weights: Weights) -> None:
        """Load weights."""

    def trained_names(self) -> frozenset[str]:
        """Return the names of the entries that gradients train."""

    def batch_norm_names(self) -> frozenset[str]:
        """Return the names of the entries of batch normalization layers."""

    def check_weights(self, found: Weights, expected: Weights, *, partial: bool = False) -> str:
        """Return what is wrong with weights of a party or a fusion, or an empty string.

        expected: the weights that were sent out;  partial: some of the entries are enough
        A model whose weights grow from round to round decides here what it accepts.
        """

    def fit(
        self,
        data: Any,
        *,
        epochs: int,
        batch_size: int,
        lr: float | None,
        optimizer: Any,
        seed: int,
        state: dict[str, Any] | None = None,
        steps: int = 0,
        **client_options: Any,
    ) -> TrainingResult:
        """Train on the rows; see `fusion_nb.models.base.Model.fit`."""

    def evaluate(self, data: Any) -> Metrics:
        """Return the metrics over the rows."""

    def evaluate_train(self, data: Any, state: Mapping[str, Any]) -> Metrics:
        """Return the metrics `train_metrics` of a party's training rows with its state."""

    def evaluate_costly(self, data: Any) -> Metrics:
        """Return those of the metrics `costly_metrics` that these rows allow."""


class NeedsAgreement(ABC):
    """A model whose parties agree on something before round 1, such as a vocabulary or a scale.

    Its first weights are read after that. Derive an adapter from this and from `Model`.

    >>> class Centred(NeedsAgreement):
    ...     "Let all parties subtract the mean of all rows."
    ...     def collect(self, data):
    ...         return {"sum": data[0].sum(0), "count": len(data[0])}
    ...     def agree(self, updates):
    ...         total = sum(update.extras["sum"] for update in updates)
    ...         return total / sum(update.extras["count"] for update in updates)
    ...     def prepare(self, data, state, agreed):
    ...         state["mean"] = agreed
    >>> rows = np.array([[1.0], [3.0]]), np.zeros(2)
    >>> Centred().agree([Update("party 1", {}, 2, extras=Centred().collect(rows))])
    array([2.])
    """

    @abstractmethod
    def collect(self, data: Any) -> Mapping[str, Any]:
        """Return what a party reports about its training rows, at the party."""

    @abstractmethod
    def agree(self, updates: Sequence[Update]) -> Any:
        """Return what all parties take over, from the `extras` of all, at the aggregator."""

    @abstractmethod
    def prepare(self, data: Any, state: dict[str, Any], agreed: Any) -> None:
        """Take over what was agreed on, at the party; `state` is what it keeps between rounds."""


class BatchTrainable(ABC):
    """A model that can train several parties' models as one batched program."""

    @abstractmethod
    def train_batched(self, tasks: Sequence[TrainingTask]) -> list[TrainingResult | Exception]:
        """Return for each task its result, or the exception that ended it."""

    @abstractmethod
    def check_batchable(self, options: Mapping[str, Any], parties: Sequence[PartyLike]) -> str:
        """Return why these parties can't be trained as one, or an empty string."""

    @abstractmethod
    def measure_speedup(self, options: Mapping[str, Any], parties: Sequence[PartyLike]) -> float:
        """Return how many times as fast a few parties are when they are trained as one."""


class PartyLike(Protocol):
    """A party, as an engine and a model use it."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def train(self) -> Any:
        """Its training rows."""

    @property
    def num_examples(self) -> int:
        """The number of training rows."""

    #: What it keeps between rounds, to continue in another process; None for nothing.
    persistent_state: Any

    def answer(self, request: Request, model: Model) -> Reply:
        """Return the reply to a request; an exception becomes a Failure, a stop passes through."""


class Engine(ABC):
    """A transport: it carries requests to parties, and yields replies in the order of the cohort.

    The same seed must give the same curve as on `fusion_nb.engines.local.LocalEngine`, so that an
    engine decides where and when parties answer, and nothing else.

    >>> class InOrder(Engine):
    ...     "Ask one party after the other, with one model."
    ...     def start(self, parties, model, gate):
    ...         self._parties = {party.id: party for party in parties}
    ...         self._model, self._gate = model.clone(), gate
    ...         self._model.gate = gate
    ...
    ...     def run(self, request, cohort):
    ...         for party in cohort:
    ...             self._gate()
    ...             yield self._parties[party].answer(request, self._model)
    ...
    ...     def close(self):
    ...         self._parties = self._model = None

    A toy party and a toy model show how it is used:

    >>> class Echo:
    ...     id = "party 1"
    ...     def answer(self, request, model):
    ...         return Update(self.id, request.weights, num_examples=10)
    >>> class NoModel:
    ...     def clone(self):
    ...         return NoModel()
    >>> from fusion_nb.core.types import EvaluateRequest
    >>> engine = InOrder()
    >>> engine.start([Echo()], NoModel(), gate=lambda: None)
    >>> [reply.party for reply in engine.run(EvaluateRequest({}), ["party 1"])]
    ['party 1']
    >>> engine.close()
    """

    @abstractmethod
    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Take over the parties, and copies of the model for workers.

        gate: to be called between batches, by `model.gate`; it may block or raise Stopped
        """

    @abstractmethod
    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort, and yield one reply for each, in that order."""

    @abstractmethod
    def close(self) -> None:
        """Release workers and settings. Safe to call twice; `start` may follow."""

    def width(self, model: Model, num_parties: int) -> int:
        """Return how many parties train at once."""
        return 1

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Return notes for the user, as sentences. Raises OptionError where it can't run them.

        options: those of `Model.fit`
        """
        return []

    @property
    def innermost(self) -> Engine:
        """The engine that does the work, where others are wrapped around it."""
        return self


class EngineWrapper(Engine):
    """An engine around another one, which passes everything through unless overridden.

    >>> class Counting(EngineWrapper):
    ...     "Count the requests."
    ...     count = 0
    ...     def run(self, request, cohort):
    ...         self.count += 1
    ...         return super().run(request, cohort)
    """

    def __init__(self, inner: Engine) -> None:
        self.inner = inner

    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Start the inner engine."""
        self.inner.start(parties, model, gate)

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort by the inner engine."""
        return self.inner.run(request, cohort)

    def close(self) -> None:
        """Close the inner engine."""
        self.inner.close()

    def width(self, model: Model, num_parties: int) -> int:
        """Return how many parties the inner engine trains at once."""
        return self.inner.width(model, num_parties)

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Return the inner engine's notes."""
        return self.inner.check(model, options, parties)

    @property
    def innermost(self) -> Engine:
        """The innermost engine of the inner one."""
        return self.inner.innermost


@dataclass(frozen=True)
class Change:
    """Options that change from a given round on.

    values: options of the run (lr, epochs, fraction, fusion) and their new values
    fusion: the rule that the option `fusion` names, or None where the rule stays
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    fusion: Fusion | None = None

    def then(self, later: Change) -> Change:
        """Return this change followed by a later one."""
        return Change({**self.values, **later.values}, later.fusion or self.fusion)


class FederationView(Protocol):
    """A federation, as a baseline and a step after the last round see it."""

    @property
    def parties(self) -> Sequence[PartyLike]:
        """The parties, in order."""

    @property
    def model(self) -> Model:
        """The aggregator's model."""

    @property
    def fusion(self) -> Fusion:
        """The aggregation rule of the next round."""

    @property
    def state(self) -> ServerState | None:
        """The aggregator's state after the last whole round."""

    @property
    def weights(self) -> Weights:
        """The fused weights of the last whole round."""

    @property
    def history(self) -> History:
        """The records of the whole rounds."""

    @property
    def initial_weights(self) -> Weights:
        """The weights before round 1."""

    @property
    def train_options(self) -> Mapping[str, Any]:
        """The options of local training in the next round."""

    @property
    def changes(self) -> Mapping[int, Change]:
        """By round, options that change from that round on."""

    @property
    def info(self) -> FederationInfo:
        """The facts that a fusion may use."""

    def cohort(self, round: int) -> tuple[str, ...]:
        """Return the parties that train in a round."""

    def ask_parties(self, local_update: LocalUpdate, **broadcast: Any) -> list[Update]:
        """Let every party do one more step outside of the rounds, and return the updates."""


#: A step after the last round; it returns each party's metrics.
PostTraining = Callable[[FederationView], PartyMetrics]


class Baseline(ABC):
    """A training beside the federation, round by round, for comparison with it.

    Its failure ends nothing else: it is a note.

    >>> class Chance(Baseline):
    ...     "The accuracy of guessing one of ten classes."
    ...     name = "chance"
    ...     def measure(self, federation, round, is_last):
    ...         return {"chance_accuracy": 0.1}, {}
    >>> Chance().measure(None, round=1, is_last=False)
    ({'chance_accuracy': 0.1}, {})
    """

    #: What messages call it.
    name: str = ""
    #: What the user should know, as sentences.
    notes: Sequence[str] = ()

    @property
    def persistent_state(self) -> Any:
        """All that it needs to go on later, as plain data for a checkpoint; None for nothing.

        Its constructor takes this back in a way of its own.
        """
        return None

    @abstractmethod
    def measure(
        self, federation: FederationView, round: int, is_last: bool
    ) -> tuple[Metrics, PartyMetrics]:
        """Return the metrics after a round, trained first where it is not yet.

        federation: the one that it is compared with, in the middle of that round
        """

    def close(self) -> None:  # noqa: B027  (a baseline need not have workers)
        """Release workers."""


class DataPoisoning(ABC):
    """Hostile parties that train on other labels than those that their rows have.

    >>> class AllZero(DataPoisoning):
    ...     "Train on the label 0 only."
    ...     def flip(self, rows, labels):
    ...         return rows[0], np.zeros_like(rows[1])
    >>> AllZero().flip((np.ones((2, 3)), np.array([4, 5])), labels=np.arange(10))[1]
    array([0, 0])
    """

    #: How many parties are hostile.
    num: int = 1

    @abstractmethod
    def flip(self, rows: Any, labels: np.ndarray) -> Any:
        """Return a data set of the same rows with other labels; the given one stays as it is.

        labels: those of all rows of the federation, which say what the classes are
        """


class ModelPoisoning(ABC):
    """Hostile parties that train honestly and send forged weights.

    >>> class Zeros(ModelPoisoning):
    ...     "Send zeros in place of trained weights."
    ...     def forge(self, replies, request, hostile, trained):
    ...         for reply in replies:
    ...             if reply.party in hostile:
    ...                 zeros = {name: array * 0 for name, array in reply.weights.items()}
    ...                 reply = Update(reply.party, zeros, reply.num_examples)
    ...             yield reply
    >>> sent = [Update("party 1", {"w": np.array([2.0])}, 10)]
    >>> next(Zeros().forge(iter(sent), None, ["party 1"], frozenset({"w"}))).weights
    {'w': array([0.])}
    """

    #: How many parties are hostile.
    num: int = 1
    #: What it remembers of earlier rounds, as plain data for a checkpoint. Replaced, not changed.
    persistent_state: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def forge(
        self,
        replies: Iterator[Reply],
        request: RoundRequest,
        hostile: Sequence[str],
        trained: frozenset[str],
    ) -> Iterator[Reply]:
        """Yield the replies of a round in their order, those of hostile parties forged.

        trained: the names of the entries that gradients train. Failures pass as they are.
        """


class Split(Protocol):
    """Divides rows among parties. Every row belongs to exactly one party.

    >>> def halves(labels, num_parties, rng):
    ...     return np.array_split(np.arange(len(labels)), num_parties)
    >>> [rows.tolist() for rows in halves(np.zeros(4), 2, np.random.default_rng(0))]
    [[0, 1], [2, 3]]
    """

    def __call__(
        self, labels: np.ndarray, num_parties: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return the row indices of each party."""
