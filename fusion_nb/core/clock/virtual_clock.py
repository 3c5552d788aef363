"""The simulated clock of a run: how long each trip takes, who is late, and when a round ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fusion_nb.core import seeds
from fusion_nb.core.clock.profiles import Device, Devices, Line, Network
from fusion_nb.core.clock.trips import Trip


@dataclass(frozen=True)
class Work:
    """The work of one trip: the bytes that the party receives and sends, and its batches."""

    bytes_down: float
    steps: int
    bytes_up: float


class VirtualClock:
    """Simulated time: a function of the seed, the profiles and the rounds, and of no real clock.

    parties:      the ids of all parties, in order
    step_seconds: the time of a batch on this machine
    deadline:     seconds after which a round takes no more updates; 0 for none
    over_select:  parties that are asked for each one whose update is waited for

    `trips` are those of the round that is under way.
    """

    def __init__(
        self,
        devices: Devices,
        network: Network,
        parties: Sequence[str],
        *,
        seed: int,
        step_seconds: float = 1.0,
        deadline: float = 0.0,
        over_select: float = 1.0,
    ) -> None:
        self._devices, self._network, self._seed = devices, network, seed
        self._index = {party: i for i, party in enumerate(parties)}
        self._step_seconds, self._deadline = step_seconds, deadline
        self.over_select = over_select
        self.trips: dict[str, Trip] = {}
        self._wanted = 0
        self._closes = 0.0
        self._works: Mapping[str, Work] = {}
        #: The batches of parties that train fewer, so that they are in time.
        self._fewer: dict[str, int] = {}

    @property
    def has_watts(self) -> bool:
        """Whether it is known how much power training takes."""
        return self._devices.has_watts

    def place(self, party: str) -> int:
        """Return a party's place in the federation, from 0."""
        return self._index[party]

    def device(self, party: str, round: int) -> Device:
        """Return a party's device; where devices are drawn for each trip, that of a round."""
        key = (round,) if self._devices.per_trip else ()
        rng = seeds.stream(self._seed, "device", party, *key)
        return self._devices.device(self._index[party], rng)

    def line(self, party: str) -> Line:
        """Return a party's line."""
        rng = seeds.stream(self._seed, "line", party)
        return self._network.line(self._index[party], rng)

    def trip(self, party: str, round: int, time: float, work: Work) -> Trip:
        """Return the trip of a party that is asked at a time, with the weights before a round."""
        device, line = self.device(party, round), self.line(party)
        train = work.steps * self._step_seconds * device.factor
        return Trip(
            asked=time,
            waited=self._devices.awake(self._index[party], time) - time,
            down=line.seconds(work.bytes_down, line.down),
            train=train,
            up=line.seconds(work.bytes_up, line.up),
            joules=train * device.watts,
            version=round - 1,
        )

    def begin(self, round: int, time: float, works: Mapping[str, Work], wanted: int) -> None:
        """Let a round begin for parties with some work.

        wanted: the updates that are waited for, where more parties are asked
        """
        self.trips = {party: self.trip(party, round, time, work) for party, work in works.items()}
        self._wanted, self._closes = wanted, time
        self._works, self._fewer = works, {}

    def late(self, asked: Sequence[str], least: int) -> dict[str, str]:
        """Return the parties whose updates come too late for the round, and why.

        asked: those that answer at all;  least: updates that the round waits for in any case
        """
        order = sorted(asked, key=lambda party: (self.trips[party].end, self._index[party]))
        spared = order[:least]
        late = {}
        if self.over_select > 1:
            why = f"late: {self._wanted} others were faster (simulated)"
            late = dict.fromkeys(order[max(self._wanted, least) :], why)
        for party in order:
            seconds = self.trips[party].seconds
            is_over = seconds > self._deadline * (1 + 1e-9) > 0
            if is_over and party not in {*spared, *late}:
                why = f"late: {seconds:.4g} s, and the deadline is {self._deadline:g} s (simulated)"
                late[party] = why
                self._closes = self.trips[party].asked + self._deadline
        return late

    def shorten(self) -> dict[str, int]:
        """Let parties that would miss the deadline train as many batches as fit before it.

        Return the batches of each; a party for which none fits stays as it is.
        """
        for party, trip in self.trips.items():
            steps, over = self._works[party].steps, trip.seconds - self._deadline
            if self._deadline and over > 0 and steps and trip.train > 0:
                each = trip.train / steps
                if (fit := math.floor((trip.train - over) / each + 1e-9)) >= 1:
                    self._fewer[party] = fit
                    share = fit / steps
                    self.trips[party] = trip._replace(
                        train=trip.train * share, joules=trip.joules * share
                    )
        return dict(self._fewer)

    def end(self, round: int, works: Mapping[str, Work]) -> tuple[float, dict[str, Trip]]:
        """Return when the round ends, and its trips.

        works: of the parties whose replies count, as it turned out
        """
        for party, work in works.items():
            work = replace(work, steps=self._fewer.get(party, work.steps))
            self.trips[party] = self.trip(party, round, self.trips[party].asked, work)
        return max([self._closes, *(self.trips[party].end for party in works)]), self.trips
