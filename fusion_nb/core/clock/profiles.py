"""The contracts of simulated devices and lines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Device:
    """A party's device.

    factor: its time for a batch, in times of this machine
    watts:  the power that training takes; 0 where it is not known
    """

    factor: float = 1.0
    watts: float = 0.0


@dataclass(frozen=True)
class Line:
    """A party's line to the aggregator.

    down, up: bytes in a second, from and to the aggregator; infinite for no limit
    latency:  seconds that each message takes beside its bytes
    loss:     share of the packets that are lost and sent again
    """

    down: float = float("inf")
    up: float = float("inf")
    latency: float = 0.0
    loss: float = 0.0

    def seconds(self, num_bytes: float, rate: float) -> float:
        """Return how long a message takes; a message without bytes is none, and takes no time.

        >>> Line(latency=0.1, loss=0.5).seconds(1000, rate=4000)
        0.6
        """
        return self.latency + num_bytes / (rate * (1 - self.loss)) if num_bytes else 0.0


class Devices(ABC):
    """The devices of a federation: each party's is drawn from the stream that it is given.

    >>> class Twins(Devices):
    ...     "Two kinds of devices, in turn."
    ...     def device(self, index, rng):
    ...         return Device(factor=1.0 if index % 2 else 3.0)
    >>> [Twins().device(i, np.random.default_rng(0)).factor for i in range(3)]
    [3.0, 1.0, 3.0]
    """

    #: Whether a device is drawn anew for each trip of a party, and not once for the whole run.
    per_trip: bool = False
    #: Whether it is known how much power training takes.
    has_watts: bool = False

    @abstractmethod
    def device(self, index: int, rng: np.random.Generator) -> Device:
        """Return the device of the party with this place in the federation, from 0."""

    def awake(self, index: int, time: float) -> float:
        """Return when a party that is asked at a time begins: at once, unless it is asleep."""
        return time

    def check(self) -> None:  # noqa: B027  (most have nothing to read)
        """Raise OptionError where they can't be had, such as from a file that is not there."""


class Network(ABC):
    """The lines of a federation: each party's is drawn once, from the stream that it is given.

    >>> class Slow(Network):
    ...     "The same line for all."
    ...     def line(self, index, rng):
    ...         return Line(down=1e6, up=1e5)
    >>> Slow().line(0, np.random.default_rng(0)).up
    100000.0
    """

    @abstractmethod
    def line(self, index: int, rng: np.random.Generator) -> Line:
        """Return the line of the party with this place in the federation, from 0."""


class SameDevices(Devices):
    """Devices that are all like this machine."""

    def device(self, index: int, rng: np.random.Generator) -> Device:
        """Return a device with the factor 1."""
        return Device()


class NoLimit(Network):
    """Lines on which nothing takes time."""

    def line(self, index: int, rng: np.random.Generator) -> Line:
        """Return a line without a limit."""
        return Line()
