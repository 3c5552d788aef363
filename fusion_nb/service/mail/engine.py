"""The engine of a run whose parties keep their rows: requests reach them through the service."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.protocols import Model, OpenRound, PartyLike
from fusion_nb.core.types import Reply, Request
from fusion_nb.engines.remote import asking
from fusion_nb.engines.remote.engine import FederatedEngine
from fusion_nb.engines.remote.link import OF_A_SERVICE
from fusion_nb.engines.remote.session import RemoteParty, Session
from fusion_nb.service.mail.link import MailLink
from fusion_nb.service.mail.mailbox import Mailbox


def register(boxes: Mapping[str, Mailbox], gate: Callable[[], None]) -> None:
    """Let the runs of this process reach parties by their mailboxes.

    gate: called while parties are waited for, before the run has a gate; it may raise Stopped
    """

    class OfThisAggregator(MailEngine):
        """Runs the parties that keep their rows."""

        def __init__(self) -> None:
            super().__init__(boxes, gate)

    registry.register("engines", OF_A_SERVICE, OfThisAggregator)


class MailEngine(FederatedEngine):
    """Runs parties in programs of their own, at the machines of their owners.

    The curve is that of the local engine. Asynchronous fusions take updates in real time, as they
    come, unless their time is simulated.
    boxes: of the parties, by their names;  waiting: see `register`
    """

    place = "the service"

    def __init__(self, boxes: Mapping[str, Mailbox], waiting: Callable[[], None]) -> None:
        self._boxes, self._waiting = boxes, waiting
        self._session: Session | None = None
        self._facts: Mapping[str, str] = {}

    @property
    def facts(self) -> Mapping[str, str]:
        """The number of parties, for the card."""
        return self._facts

    @property
    def has_real_time(self) -> bool:
        """Parties answer on their own."""
        return True

    def width(self, model: Model, num_parties: int) -> int:
        """Return how many parties train at once: all."""
        return num_parties

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Return a note."""
        return [f"engine: {len(parties)} parties of the service, in programs of their owners"]

    def connect(self) -> Session:
        """Return a new connection to the parties."""
        session = Session(MailLink(self._boxes))
        session.gate = self._waiting
        return session

    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Give each party the model."""
        first = parties[0]
        assert isinstance(first, RemoteParty)
        session = self._session = first.session
        session.gate = gate
        self._facts = {"parties": str(len(parties))}
        weakref.finalize(self, session.close)
        asking.set_up(session, first.setup(model))

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort, and yield their replies in its order."""
        yield from asking.ask(self._open_session(), request, cohort)

    def run_open(self, round: OpenRound) -> Iterator[Reply]:
        """Ask parties as the round names them, and yield replies as they come."""
        yield from asking.ask_open(self._open_session(), round)

    def give_up(self) -> None:
        """Let parties give up what `run_open` asked of them."""
        if self._session is not None:
            self._session.give_up()

    def close(self) -> None:
        """End the run; the parties go on to wait."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def _open_session(self) -> Session:
        assert self._session is not None
        return self._session
