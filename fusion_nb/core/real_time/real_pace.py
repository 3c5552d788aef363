"""The rounds of an asynchronous fusion in real time: updates are taken as they come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from fusion_nb.core import arithmetic
from fusion_nb.core.clock.trips import Trip
from fusion_nb.core.history import History
from fusion_nb.core.network import Network
from fusion_nb.core.protocols import Asynchronous, OpenRound, SamplingContext
from fusion_nb.core.rounds import cohorts
from fusion_nb.core.rounds.opened import Opened
from fusion_nb.core.settings import ChangePlan, FederationConfig
from fusion_nb.core.types import (
    Failure,
    Metrics,
    NoUpdate,
    Reply,
    RoundRequest,
    ServerState,
    Update,
)
from fusion_nb.errors import ContractError


class Question(NamedTuple):
    """A request that is under way: the time at which the party was asked, and in which round."""

    asked: float
    round: int


class Collecting(OpenRound):
    """A round that collects replies: it asks parties until as many are under way as may be.

    candidates: all parties that train, in the order in which they are asked
    under_way:  the requests without a reply, by party; it grows and shrinks with the round
    now:        returns the seconds since the run began

    `came` has the replies by party, and `trips` how long each took.
    """

    def __init__(
        self,
        request: RoundRequest,
        rule: Asynchronous,
        concurrency: int,
        candidates: Sequence[str],
        under_way: dict[str, Question],
        now: Callable[[], float],
    ) -> None:
        self.round, self.awaited = request.round, rule.awaited(concurrency)
        self._request, self._concurrency = request, concurrency
        self._waiting, self._under_way, self._now = iter(candidates), under_way, now
        self.came: dict[str, Reply] = {}
        self.trips: dict[str, Trip] = {}

    def next(self) -> tuple[str, RoundRequest] | None:
        """Return the next party to ask; one that has replied in this round is not asked again."""
        if self.is_over or len(self._under_way) >= self._concurrency:
            return None
        busy = {*self._under_way, *self.came}
        party = next((party for party in self._waiting if party not in busy), None)
        if party is None:
            return None
        self._under_way[party] = Question(self._now(), self.round)
        return party, self._request

    def take(self, reply: Reply) -> None:
        """Take a reply that came. Raises ContractError for one that nobody was asked for."""
        if not isinstance(reply, Update | NoUpdate | Failure):
            raise ContractError(
                f"the engine's run_open() yielded {type(reply).__name__}, not a reply",
                "yield what party.answer(request, model) returns",
            )
        question = self._under_way.pop(reply.party, None)
        if question is None:
            raise ContractError(
                f"the engine answered for {reply.party}, which was not asked, in round "
                f"{self.round}",
                "yield one reply for each request",
            )
        self.came[reply.party] = reply
        took = self._now() - question.asked
        self.trips[reply.party] = Trip(question.asked, 0, 0, took, 0, version=question.round - 1)

    @property
    def is_over(self) -> bool:
        """Whether all updates have come that the round waits for."""
        failed = sum(isinstance(reply, Failure) for reply in self.came.values())
        return len(self.came) - failed >= self.awaited


class RealPace:
    """Asks parties as soon as they are free, and closes a round once its buffer is full.

    A party that fails is replaced by another one. Requests stay under way from one round to the
    next; a stop, an error, and the last round give them up. Which updates a round has depends on
    the real speed of parties, so that a run is not repeated by its seed.

    now: returns seconds that stand still while the run is held
    """

    def __init__(
        self,
        config: FederationConfig,
        network: Network,
        plan: ChangePlan,
        history: History,
        now: Callable[[], float],
    ) -> None:
        self._config, self._network, self._plan, self._history = config, network, plan, history
        self._trained = [party.id for party in network.parties if party.trains]
        self._clock, self._begun = now, 0.0
        self._under_way: dict[str, Question] = {}
        self._round: Collecting | None = None

    @property
    def busy(self) -> frozenset[str]:
        """The parties that are under way."""
        return frozenset(self._under_way)

    def seconds(self, round: int) -> dict[str, float]:
        """Return nothing: how long parties take is not known before."""
        return {}

    def cohort(self, round: int) -> tuple[str, ...]:
        """Return the parties of a round that has collected; of a later one, those first asked."""
        if self._round is not None and self._round.round == round:
            found: Sequence[str] = [*self._round.came]
        else:
            rule, concurrency = self._rule(round)
            found = self._candidates(round)[: rule.awaited(concurrency)]
        return tuple(party for party in self._trained if party in found)

    def open(self, request: RoundRequest, state: ServerState) -> Opened:
        """Ask parties, wait for the round's updates, and return it. Raises Stopped."""
        round = request.round
        rule, concurrency = self._rule(round)
        if not self._under_way:
            # Times count on from those of the rounds, whatever passed between two runs.
            self._begun = self._clock() - self._history.seconds()
        collecting = self._round = Collecting(
            request, rule, concurrency, self._candidates(round), self._under_way, self._now
        )
        replies = self._network.ask_open(collecting)
        for reply in replies:
            collecting.take(reply)
            if collecting.is_over:
                break
        cohort = self.cohort(round)
        received = {party: collecting.trips[party].version for party in cohort}
        kept = frozenset(question.round - 1 for question in self._under_way.values())
        own = rule.before_round(state.fusion_state, round - 1, received, kept)
        came = [collecting.came[party] for party in cohort]
        return Opened(request, replace(state, fusion_state=own), cohort, iter(came))

    def end(
        self, sent: Mapping[str, int], cohort: Sequence[str], bytes_down: int, round: int
    ) -> tuple[Metrics, Mapping[str, Trip]]:
        """Return no metrics, and how long each party of the round took."""
        assert self._round is not None
        return {}, {party: self._round.trips[party] for party in cohort}

    def forecast(self, num_rounds: int) -> None:
        """Return None: no time is simulated."""

    def give_up(self) -> None:
        """Let the parties that are under way give up."""
        if self._under_way:
            self._under_way.clear()
            self._network.engine.give_up()

    def _now(self) -> float:
        return self._clock() - self._begun

    def _rule(self, round: int) -> tuple[Asynchronous, int]:
        """Return the fusion of a round, and how many parties are under way at a time."""
        settings = self._plan.settings(round)
        rule = settings.fusion.asynchronous
        assert rule is not None
        cohort = arithmetic.round_half_up(settings.fraction * len(self._trained))
        return rule, rule.concurrency or max(1, cohort)

    def _candidates(self, round: int) -> list[str]:
        drawn = cohorts.draw(
            SamplingContext.uniform,
            self._network.parties,
            self._history,
            round=round,
            seed=self._config.seed_of_cohorts,
            fraction=self._plan.settings(round).fraction,
        )
        return cohorts.order(drawn, self._trained, self._config.seed, round)
