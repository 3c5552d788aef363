"""The contract of a round whose replies are taken as they come."""

from __future__ import annotations

from abc import ABC, abstractmethod

from fusion_nb.core.types import RoundRequest


class OpenRound(ABC):
    """A round that is open: an engine asks whom it names, and yields replies as they come.

    round:   its number
    awaited: the updates that it waits for; the engine's iterator is left once they are there
    """

    round: int
    awaited: int

    @abstractmethod
    def next(self) -> tuple[str, RoundRequest] | None:
        """Return the next party to ask and its request, or None while nobody is to be asked."""
