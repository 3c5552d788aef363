"""The contract of a fusion: the aggregation rule of a federation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from fusion_nb.core.arithmetic import num_bytes
from fusion_nb.core.protocols.federation_view import FederationView
from fusion_nb.core.types import (
    Answer,
    FederationInfo,
    LocalContext,
    Metrics,
    NoUpdate,
    PartyMetrics,
    Requirements,
    Update,
    Weights,
    WeightsKind,
)
from fusion_nb.errors import ContractError


class Fusion(ABC):
    """An aggregation rule: state in, state out, so that a run can be continued at any round.

    A rule keeps its options on itself and nothing else: what it remembers between rounds is the
    state that `init` and `aggregate` return, or `context.state` at each party.

    >>> import numpy as np
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
    #: The kinds of weights that it makes sense for (`ModelKind.weights_kind`).
    fuses: frozenset[WeightsKind] = frozenset({"numbers"})
    #: Whether it averages the parties' weights, with shares that do not depend on other parties'
    #: weights. It may read extras of single parties, which a `linear` rule does not.
    averages: bool = False
    #: Whether `post_training` does anything.
    has_post_training: bool = False
    #: Whether it is made around another rule, which is then its first argument (`FusionWrapper`).
    wraps_another: ClassVar[bool] = False
    #: Whether a round depends on the updates through their mean alone, so that a rule around it may
    #: hand on that mean as one update (`MeanUpdate`) in place of the parties' own.
    linear: bool = False
    #: Why it is not, as the end of a sentence that begins with its name.
    not_linear: str = "reads the updates of single parties"
    #: Whether all parties count alike in the mean of a linear rule, and not by their rows.
    equal_shares: bool = False
    #: A size that no number of a party's change exceeds before round 1, by the rule itself; 0 where
    #: it has none. The extras of a rule that has one are from -1 to 1.
    largest_change: float = 0.0
    #: Names of the metrics that `measure` returns.
    metric_names: tuple[str, ...] = ()

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the rule's state before its first round; None for a rule without a state."""
        return None

    def notes(self, state: Any) -> Sequence[str]:
        """Return what the state after some rounds tells the user, as sentences."""
        return []

    def measure(self, state: Any) -> Metrics:
        """Return what the state after a round adds to the metrics of that round's record."""
        return {}

    def broadcast(self, state: Any) -> Mapping[str, Any]:
        """Return extras that the aggregator sends along with the weights."""
        return {}

    def shared_weights(self, weights: Weights, state: Any) -> Weights:
        """Return the entries of the weights that travel to the parties."""
        return weights

    def bytes_down(self, weights: Weights, state: Any, cohort: Sequence[str]) -> int:
        """Return the bytes that the parties of a cohort receive at the beginning of a round.

        They are those of the weights that travel and of the extras, once for each party.
        """
        sent = num_bytes(self.shared_weights(weights, state)) + num_bytes(self.broadcast(state))
        return sent * len(cohort)

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

    def largest_change_after(self, state: Any) -> float:
        """Return the size `largest_change` for the round that follows a state."""
        return self.largest_change

    @property
    def adds_up(self) -> bool:
        """Whether `aggregate` also takes the mean of all `summand`s, as one `MeanUpdate`.

        Masks then hide the single updates. A linear rule does so by itself.
        """
        return self.linear

    def summand(self, update: Update, weights: Weights, info: FederationInfo) -> Update:
        """Return a party's update in the form that is averaged where single updates are hidden.

        It runs at the party. Extras are numbers and arrays. weights: those before the round
        """
        return update

    @property
    def synchronising(self) -> Synchronising | None:
        """The rule that decides when parties synchronise; None where they send in every round."""
        return None

    @property
    def asynchronous(self) -> Asynchronous | None:
        """The rule whose updates arrive one by one; None where a round waits for its cohort."""
        return None

    @property
    def exchanging(self) -> Exchanging | None:
        """The rule that asks parties further steps within a round; None for the others."""
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


@dataclass(frozen=True)
class Arrival:
    """An update as it arrives at the aggregator.

    start:     the weights that the party received
    staleness: the rounds that have ended since then; 0 where `start` are the present weights
    """

    update: Update
    start: Weights
    staleness: int = 0


class Asynchronous(Fusion):
    """A fusion of updates that arrive one by one, some from weights of earlier rounds.

    `concurrency` parties are under way at a time, and a round ends when `buffer` updates have
    arrived. A subclass sets both, and fuses in `mix`. The state keeps the weights of those earlier
    rounds that parties still train from.

    >>> import numpy as np
    >>> class Latest(Asynchronous):
    ...     "Take the update that arrives last."
    ...     buffer = 1
    ...     def mix(self, weights, arrivals, trained):
    ...         return [arrival.update.weights for arrival in arrivals][-1]
    >>> rule, start = Latest(), {"w": np.zeros(1)}
    >>> state = rule.init(start, FederationInfo(1, ("w",), frozenset({"w"})))
    >>> rule.aggregate(start, iter([Update("a", {"w": np.ones(1)}, 10)]), state)[0]
    {'w': array([1.])}
    """

    #: Updates that a round waits for; 0 for half of those under way.
    buffer: int = 0
    #: Parties that are under way at a time; 0 for the share of the parties that a cohort has.
    concurrency: int = 0
    #: "real" or "simulated" time, or "" for what the engine and the devices suggest.
    time: str = ""

    @property
    def asynchronous(self) -> Asynchronous | None:
        """Itself."""
        return self

    def awaited(self, under_way: int) -> int:
        """Return how many updates a round waits for, of so many parties under way."""
        return self.buffer or max(1, under_way // 2)

    @abstractmethod
    def mix(
        self, weights: Weights, arrivals: Iterator[Arrival], trained: frozenset[str]
    ) -> Weights:
        """Return the new weights.

        weights: those before the round;  arrivals: in party order, to be read once
        trained: the entries that gradients train
        """

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the state: no party is under way."""
        return {
            "trained": sorted(info.trained),
            "earlier": {},
            "received": {},
            "kept": [],
            "now": 0,
        }

    def before_round(
        self, state: Any, now: int, received: Mapping[str, int], kept: frozenset[int]
    ) -> Any:
        """Return the state of a round that begins.

        now:      the rounds before it;  received: by party, the round whose weights it trained from
        kept:     the rounds whose weights are with parties under way when it ends
        """
        return {**state, "now": now, "received": dict(received), "kept": sorted(kept)}

    def earlier_weights(self, state: Any) -> dict[str, Weights]:
        """Return the weights that the round's parties trained from, where they are earlier ones."""
        return {
            party: state["earlier"][str(round)]
            for party, round in state["received"].items()
            if str(round) in state["earlier"]
        }

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the new weights, and the state with the earlier weights that are still needed."""
        starts, received, now = self.earlier_weights(state), state["received"], state["now"]
        arrivals = (
            Arrival(
                update,
                starts.get(update.party, weights),
                now - received.get(update.party, now),
            )
            for update in updates
        )
        new = self.mix(weights, arrivals, frozenset(state["trained"]))
        known = {**state["earlier"], str(now): weights}
        earlier = {str(round): known[str(round)] for round in state["kept"]}
        return new, {**state, "earlier": earlier, "received": {}, "kept": []}


#: Lets parties do a step: `(name, step, given, least) -> party -> answer`; see `StepRequest`. A
#: party that fails is left out.
AskStep = Callable[
    [
        str,
        Callable[[str, dict[str, Any], Mapping[str, Any]], Mapping[str, Any]],
        Mapping[str, Mapping[str, Any]],
        int,
    ],
    Mapping[str, Mapping[str, Any]],
]


class Exchanging(Fusion):
    """A fusion that needs several exchanges with the parties of a round, after their training.

    >>> from fusion_nb.core.arithmetic import tree_map
    >>> def send(party, secrets, given):
    ...     return {"sum": secrets.pop("weights")["w"] + given["offset"]}
    >>> class Second(Exchanging):
    ...     "Let parties send their weights in a second exchange."
    ...     def local_update(self, context):
    ...         context.secrets["weights"] = context.train(context.weights).weights
    ...         return context.update({})
    ...     def aggregate_in_steps(self, weights, updates, state, ask, round):
    ...         given = {update.party: {"offset": 1.0} for update in updates}
    ...         sums = [answer["sum"] for answer in ask("send", send, given, 1).values()]
    ...         return {"w": sum(sums) / len(sums)}, state
    >>> Second().exchanging is not None
    True
    """

    @abstractmethod
    def aggregate_in_steps(
        self, weights: Weights, updates: Iterator[Update], state: Any, ask: AskStep, round: int
    ) -> tuple[Weights, Any]:
        """Return the new weights and the new state, as `aggregate`.

        ask: lets parties do a step. Raises PartyError where too few answer.
        """

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Raise ContractError: such a rule needs `ask`."""
        raise ContractError(
            f"{type(self).__name__} needs further exchanges with parties",
            "call aggregate_in_steps",
        )

    @property
    def exchanging(self) -> Exchanging | None:
        """Itself."""
        return self
