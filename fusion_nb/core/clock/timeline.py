"""The event loop of asynchronous rounds: who arrives when, and who is asked next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from fusion_nb.core.clock.trips import Trip


@dataclass(frozen=True)
class Traffic:
    """The rules by which parties come and go after a round.

    buffer:      updates that are awaited before they are fused
    concurrency: parties that are under way at a time
    candidates:  all parties that train, in the order in which they are asked
    trip:        `trip(party, time)` returns the trip of a party that is asked at a time
    """

    buffer: int
    concurrency: int
    candidates: Iterable[str]
    trip: Callable[[str, float], Trip]


@dataclass
class Timeline:
    """The trips of an asynchronous run, a round after the other.

    A round is over when the buffer is full; a party is in a buffer once at most. Its trips depend
    on the profiles alone, and on no result of a training, so that they can be known before.

    time:   the end of the last round;  under_way: the trips under way then, by party
    rounds: the trips that arrived in each round, by party
    """

    time: float = 0.0
    under_way: dict[str, Trip] = field(default_factory=dict)
    rounds: list[dict[str, Trip]] = field(default_factory=list)
    #: The rounds whose weights are with parties under way after each round.
    versions: list[frozenset[int]] = field(default_factory=list)

    def copy(self) -> Timeline:
        """Return another timeline that goes on from here."""
        return Timeline(self.time, {**self.under_way}, [*self.rounds], [*self.versions])

    def advance(self, traffic: Traffic) -> None:
        """Add a round."""
        arrived: dict[str, Trip] = {}
        waiting = iter([*traffic.candidates])
        self._ask(traffic, waiting, arrived)
        while len(arrived) < traffic.buffer:
            self.time = min(trip.end for trip in self.under_way.values())
            # All that arrive at one time come before anybody is asked anew.
            for party in [p for p, trip in self.under_way.items() if trip.end == self.time]:
                if len(arrived) < traffic.buffer:
                    arrived[party] = self.under_way.pop(party)
            if len(arrived) < traffic.buffer:
                self._ask(traffic, waiting, arrived)
        self.rounds.append(arrived)
        self.versions.append(frozenset(trip.version for trip in self.under_way.values()))

    def _ask(self, traffic: Traffic, waiting: Iterator[str], arrived: dict[str, Trip]) -> None:
        """Ask parties until as many are under way as may be."""
        while len(self.under_way) < traffic.concurrency:
            party = next((p for p in waiting if p not in self.under_way and p not in arrived), None)
            if party is None:
                return
            self.under_way[party] = traffic.trip(party, self.time)
