"""A trip: a party is asked, receives the weights, trains, and sends its update."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Trip(NamedTuple):
    """The simulated times of one party's work in a round, in seconds.

    asked:   since the run began;  waited: until the device was awake
    down, train, up: how long it received, trained and sent
    joules:  the energy of its training; 0 where the profile has none
    version: the round whose weights it received; 0 for the first ones
    """

    asked: float
    waited: float
    down: float
    train: float
    up: float
    joules: float = 0.0
    version: int = 0

    @property
    def seconds(self) -> float:
        """How long it takes from the question to the answer."""
        return self.waited + self.down + self.train + self.up

    @property
    def end(self) -> float:
        """When its update arrives, since the run began."""
        return self.asked + self.seconds


def trips_to_json(trips: Mapping[str, Trip]) -> dict[str, list[float]]:
    """Return trips by party as values that JSON can hold."""
    return {party: list(trip) for party, trip in trips.items()}


def trips_from_json(found: Mapping[str, Any]) -> dict[str, Trip]:
    """Return the trips that `trips_to_json` made these values of."""
    return {party: Trip(*values) for party, values in found.items()}
