"""The simulated time of a federation's rounds: who is asked when, and what its records tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fusion_nb.core import arithmetic
from fusion_nb.core.clock.profiles import NoLimit, SameDevices
from fusion_nb.core.clock.steps import num_steps
from fusion_nb.core.clock.timeline import Timeline, Traffic
from fusion_nb.core.clock.trips import Trip
from fusion_nb.core.clock.virtual_clock import VirtualClock, Work
from fusion_nb.core.history import History
from fusion_nb.core.network import Network
from fusion_nb.core.protocols import Change, SamplingContext
from fusion_nb.core.rounds import cohorts
from fusion_nb.core.rounds.opened import Opened
from fusion_nb.core.settings import ChangePlan, FederationConfig, RoundSettings
from fusion_nb.core.types import Metrics, RoundRequest, ServerState

#: The names of simulated time and of energy among the metrics of a round.
SECONDS, JOULES = "virtual_seconds", "virtual_joules"


@dataclass(frozen=True)
class Forecast:
    """The cost of rounds: simulated seconds, the parties that are asked, and those too late."""

    seconds: float
    asked: int
    late: int


class Pace:
    """Brings simulated time into the rounds of a federation; without a clock it changes nothing.

    An asynchronous fusion has one always: without a clock, each batch takes a second.
    """

    def __init__(
        self,
        config: FederationConfig,
        network: Network,
        plan: ChangePlan,
        history: History,
    ) -> None:
        parties = network.parties
        self._trained = {party.id: party for party in parties if party.trains}
        ids = [party.id for party in parties]
        self._has_clock = config.clock is not None
        self._clock = config.clock or VirtualClock(SameDevices(), NoLimit(), ids, seed=config.seed)
        self._config, self._network, self._plan, self._history = config, network, plan, history
        #: The timelines of the whole rounds, and of more, with what the latter rests on.
        self._whole, self._ahead = Timeline(), Timeline()
        self._base: tuple[int, Mapping[int, Change]] = (0, {})

    def seconds(self, round: int) -> dict[str, float]:
        """Return how long each party would take in a round; nothing without a clock."""
        if not self._has_clock:
            return {}
        return {party: self._trip(party, round, 0.0).seconds for party in self._trained}

    def cohort(self, round: int) -> tuple[str, ...]:
        """Return the parties of a round: those that are drawn, or that arrive in it."""
        settings = self._plan.settings(round)
        if settings.fusion.asynchronous is None:
            return self._drawn(round, min(1.0, settings.fraction * self._clock.over_select))
        arrived = self._until(round).rounds[round - 1]
        return tuple(party for party in self._trained if party in arrived)

    def open(self, request: RoundRequest, state: ServerState) -> Opened:
        """Let a round begin: ask the parties of its cohort, which may be none."""
        cohort = self.cohort(request.round)
        request, state = self._begin(request, state, cohort)
        replies = self._network.ask(request, cohort) if cohort else iter(())
        return Opened(request, state, cohort, replies)

    def end(
        self, sent: Mapping[str, int], cohort: Sequence[str], bytes_down: int, round: int
    ) -> tuple[Metrics, Mapping[str, Trip]]:
        """Return what the record of a round tells of simulated time: metrics, and trips.

        sent: the bytes of each party that did not fail
        """
        settings = self._plan.settings(round)
        if settings.fusion.asynchronous is not None:
            arrived = self._until(round).rounds[round - 1]
            trips = {party: arrived[party] for party in cohort}
            return self._metrics(max(trip.end for trip in trips.values()), trips), trips
        if not self._has_clock:
            return {}, {}
        down = bytes_down / max(1, len(cohort))
        works = {
            party: replace(self._work(party, settings, round, down), bytes_up=up)
            for party, up in sent.items()
        }
        time, trips = self._clock.end(round, works)
        return self._metrics(time, trips), trips

    def forecast(self, num_rounds: int) -> Forecast | None:
        """Return what the first rounds would take, without any training; None without a clock.

        Nothing changes.
        """
        if self._plan.settings(1).fusion.asynchronous is not None:
            rounds = self._until(num_rounds).rounds[:num_rounds]
            end = max(trip.end for trip in rounds[-1].values())
            return Forecast(end, sum(map(len, rounds)), 0)
        if not self._has_clock:
            return None
        time, asked, late = 0.0, 0, 0
        for round in range(1, num_rounds + 1):
            settings, cohort = self._plan.settings(round), self.cohort(round)
            down = arithmetic.num_bytes(self._network.initial_weights)
            works = {party: self._work(party, settings, round, down) for party in cohort}
            self._clock.begin(round, time, works, self._wanted(settings))
            if settings.fusion.requires.uses_partial_work and self._counts_steps:
                self._clock.shorten()
            left_out = self._clock.late(cohort, settings.fusion.requires.min_updates)
            arrived = {party: work for party, work in works.items() if party not in left_out}
            time, _ = self._clock.end(round, arrived)
            asked, late = asked + len(cohort), late + len(left_out)
        return Forecast(time, asked, late)

    def give_up(self) -> None:
        """Do nothing: nobody is under way between rounds but in simulated time."""

    @property
    def busy(self) -> frozenset[str]:
        """No party: each has replied when its round ends."""
        return frozenset()

    def _begin(
        self, request: RoundRequest, state: ServerState, cohort: Sequence[str]
    ) -> tuple[RoundRequest, ServerState]:
        """Return the request and the state of a round with this cohort."""
        round = request.round
        settings = self._plan.settings(round)
        if (rule := settings.fusion.asynchronous) is not None:
            timeline = self._until(round)
            trips, kept = timeline.rounds[round - 1], timeline.versions[round - 1]
            received = {party: trips[party].version for party in cohort}
            own = rule.before_round(state.fusion_state, round - 1, received, kept)
            return (
                replace(request, party_weights=rule.earlier_weights(own)),
                replace(state, fusion_state=own),
            )
        if self._has_clock:
            sent = settings.fusion.bytes_down(state.weights, state.fusion_state, cohort)
            down = int(sent / max(1, len(cohort)))
            works = {party: self._work(party, settings, round, down) for party in cohort}
            self._clock.begin(round, self._last(SECONDS), works, self._wanted(settings))
        return request, state

    @property
    def _counts_steps(self) -> bool:
        return "local_steps" in self._network.model.supported_options

    def _wanted(self, settings: RoundSettings) -> int:
        """Return the updates that a round waits for."""
        return max(1, arithmetic.round_half_up(settings.fraction * len(self._trained)))

    def _drawn(self, round: int, fraction: float) -> tuple[str, ...]:
        """Return the parties that the sampling draws for a round."""
        sampling, fusion = self._config.sampling, self._plan.settings(round).fusion
        is_uniform = sampling is SamplingContext.uniform  # of one size: too small is a mistake
        return cohorts.draw(
            sampling,
            self._network.parties,
            self._history,
            round=round,
            seed=self._config.seed_of_cohorts,
            fraction=fraction,
            least=1 if is_uniform else fusion.requires.min_updates,
            seconds={} if is_uniform else self.seconds(round),
        )

    def _until(self, round: int) -> Timeline:
        """Return a timeline with a round.

        What goes beyond the whole rounds is found anew after a change, which holds from the next
        round on, also where that was begun before.
        """
        changes = dict(self._plan.changes)
        base = (len(self._history), changes)
        if self._base != base:
            for number in range(len(self._whole.rounds) + 1, len(self._history) + 1):
                self._whole.advance(self._traffic(number))
            self._ahead, self._base = self._whole.copy(), base
        for number in range(len(self._ahead.rounds) + 1, round + 1):
            self._ahead.advance(self._traffic(number))
        return self._ahead

    def _traffic(self, round: int) -> Traffic:
        """Return the rules for the parties that are asked before a round ends."""
        settings = self._plan.settings(round)
        rule = settings.fusion.asynchronous
        assert rule is not None
        cohort = arithmetic.round_half_up(settings.fraction * len(self._trained))
        concurrency = rule.concurrency or max(1, cohort)
        drawn = self._drawn(round, settings.fraction)
        order = cohorts.order(drawn, self._trained, self._config.seed, round)
        return Traffic(
            rule.awaited(concurrency),
            concurrency,
            order,
            lambda party, time: self._trip(party, round, time),
        )

    def _trip(self, party: str, round: int, time: float) -> Trip:
        down = arithmetic.num_bytes(self._network.initial_weights)
        work = self._work(party, self._plan.settings(round), round, down)
        return self._clock.trip(party, round, time, work)

    def _work(self, party: str, settings: RoundSettings, round: int, bytes_down: float) -> Work:
        """Return the expected work of a party: it sends as much as parties did in the last round,
        and at first as much as it receives.
        """
        last = self._history[min(round - 1, len(self._history)) - 1] if self._history else None
        num_sent = len(last.cohort) - len(last.failures) if last else 0
        up = last.bytes_up / num_sent if last and num_sent and round > 1 else bytes_down
        options = {**settings.train_options, **settings.fusion.client_options}
        steps = num_steps(self._trained[party].num_examples, options, self._network.model.min_rows)
        return Work(bytes_down, steps, up)

    def _metrics(self, time: float, trips: Mapping[str, Trip]) -> Metrics:
        found = {SECONDS: time}
        if self._clock.has_watts:
            used = sum(trip.joules for trip in trips.values())
            found[JOULES] = self._last(JOULES) + used
        return found

    def _last(self, metric: str) -> float:
        return self._history[-1].metrics.get(metric, 0.0) if self._history else 0.0
