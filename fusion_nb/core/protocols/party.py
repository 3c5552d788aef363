"""The contract of a party, as an engine and a model use it."""

from __future__ import annotations

from typing import Any, Protocol

from fusion_nb.core.protocols.model import TrainableModel
from fusion_nb.core.types import Reply, Request


class PartyLike(Protocol):
    """A party, as an engine and a model use it."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def train(self) -> Any:
        """Its training rows."""

    @property
    def num_examples(self) -> int:
        """The number of training rows."""

    @property
    def num_at_once(self) -> int:
        """The number of training rows that it has in a round."""

    @property
    def num_test(self) -> int:
        """The number of test rows of its own."""

    #: The state that it keeps between rounds, to continue in another process; None for nothing.
    persistent_state: Any
    #: That, and its secrets of a round under way, for a worker of the kernel's own.
    carried_state: Any

    def answer(self, request: Request, model: TrainableModel) -> Reply:
        """Return the reply to a request; an exception becomes a Failure, a stop passes through."""
