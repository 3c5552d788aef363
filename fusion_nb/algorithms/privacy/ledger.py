"""The ledger: which releases a run has made, so that their privacy is counted together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.algorithms.privacy.accounting import Accountant, Event, epsilon

#: The holder of events that are the same for all parties.
EVERYONE = ""


@dataclass(frozen=True)
class Ledger:
    """The releases so far, by the holder whose rows are in them.

    >>> ledger = Ledger().with_event("party 1", 1.0, 2.0).with_event("party 1", 1.0, 2.0, 3)
    >>> ledger.events
    {'party 1': ((1.0, 2.0, 4),)}
    >>> round(ledger.epsilon(1e-5), 2)
    4.38
    """

    events: Mapping[str, tuple[Event, ...]] = field(default_factory=dict)

    def with_event(self, holder: str, chance: float, noise: float, count: int = 1) -> Ledger:
        """Return a ledger with further releases of one kind."""
        before = {(q, z): n for q, z, n in self.events.get(holder, ())}
        before[chance, noise] = before.get((chance, noise), 0) + count
        events = tuple((q, z, n) for (q, z), n in before.items())
        return Ledger({**self.events, holder: events})

    def epsilon(self, delta: float, accountant: Accountant = "pld") -> float:
        """Return the largest epsilon of a holder; 0 for no release."""
        largest = _largest({*self.events.values()})
        return max((epsilon(events, delta, accountant) for events in largest), default=0.0)

    def epsilon_of(self, holder: str, delta: float) -> float:
        """Return epsilon of one holder, who is in the releases of everyone too; 0 for no release.

        >>> Ledger().with_event("party 1", 1.0, 2.0).epsilon_of("party 2", 1e-5)
        0.0
        """
        mine = [self.events.get(name, ()) for name in dict.fromkeys((EVERYONE, holder))]
        return epsilon(tuple(event for events in mine for event in events), delta)

    def to_state(self) -> dict[str, Any]:
        """Return it as plain data, which a checkpoint can hold."""
        return {holder: [list(event) for event in events] for holder, events in self.events.items()}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Ledger:
        """Return the ledger that `to_state` wrote."""
        return cls(
            {
                holder: tuple((float(q), float(z), int(n)) for q, z, n in events)
                for holder, events in state.items()
            }
        )


def _largest(all_events: set[tuple[Event, ...]]) -> list[tuple[Event, ...]]:
    """Return the events among which those with the largest epsilon are.

    Events with as much noise, and a smaller chance as often or less often, cost no more.
    """
    return [
        events
        for events in all_events
        if not any(other != events and _covers(other, events) for other in all_events)
    ]


def _covers(larger: tuple[Event, ...], events: tuple[Event, ...]) -> bool:
    return len(larger) == len(events) and all(
        z == noise and q >= chance and n >= count
        for (q, z, n), (chance, noise, count) in zip(larger, events, strict=True)
    )
