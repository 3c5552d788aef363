"""The contract of a baseline: a training beside the federation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from fusion_nb.core.protocols.federation_view import FederationView
from fusion_nb.core.types import Metrics, PartyMetrics


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

    #: Its name in messages.
    name: str = ""
    #: Notes for the user, as sentences.
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
