"""The engine of Flower: requests travel over a SuperLink to nodes, and answers come back."""

from __future__ import annotations

import os
import pickle
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.core.protocols import Model, OpenRound, PartyLike
from fusion_nb.core.types import Failure, Reply, Request
from fusion_nb.engines.flower import remote_app
from fusion_nb.engines.flower.link import Link
from fusion_nb.engines.flower.rehearsal import Rehearsal
from fusion_nb.engines.remote import asking
from fusion_nb.engines.remote.conversation import Question
from fusion_nb.engines.remote.engine import FederatedEngine
from fusion_nb.engines.remote.link import Answer
from fusion_nb.engines.remote.open_conversation import OpenConversation
from fusion_nb.engines.remote.session import RemoteParty, Session
from fusion_nb.engines.sending import checked_size, dumps, without_gate
from fusion_nb.errors import OptionError, missing_extra, option

#: Nodes of a rehearsal that does not say how many, at most; each takes some 150 MB.
_MOST_NODES = 5


class FlowerEngine(FederatedEngine):
    """Runs parties as nodes of Flower; the curve is the local engine's.

    It starts a SuperLink and nodes on this machine, each a process of its own that has the rows of
    its parties: a rehearsal of a federation. They end with this process, whatever ends it. A
    request takes about a second more than on other engines. Nothing is installed, no telemetry is
    sent, and nothing listens to other machines.

    With the address of a SuperLink it uses a running federation: parties are the nodes that there
    are, started by `fusion-nb party`, and their rows stay with them.

    Asynchronous fusions take updates in real time, as they come, unless their time is simulated:
    such a run is not repeated by its seed.
    """

    def __init__(
        self,
        *,
        nodes: Annotated[
            int, Field(description="processes with parties; 0: one for each, 5 at most", ge=0)
        ] = 0,
        superlink: Annotated[
            str, Field(description="host:port of a SuperLink that runs; it has the parties")
        ] = "",
        certificates: Annotated[str, Field(description="its root certificate, as PEM")] = "",
        insecure: Annotated[bool, Field(description="connect without encryption")] = False,
        wait: Annotated[
            float, Field(description="seconds in which parties may come before the run", ge=0)
        ] = 60.0,
        send_code: Annotated[
            bool, Field(description="send the model's class as code, where parties allow that")
        ] = False,
    ) -> None:
        if superlink and nodes:
            raise OptionError(
                f"{option('engine', f'flower:superlink={superlink},nodes={nodes}')}: the nodes are "
                "those that there are",
                "leave nodes out",
            )
        self.place = superlink
        self.wait, self.send_code = wait, send_code
        self._certificates, self._insecure = certificates, insecure
        self._session: Session | None = None
        self._num_nodes = nodes
        self._parties: dict[str, PartyLike] = {}
        self._rehearsal: Rehearsal | None = None
        self._conversation: OpenConversation | None = None
        self._facts: Mapping[str, str] = {}
        self._finalizer: Callable[[], Any] = lambda: None

    @property
    def facts(self) -> Mapping[str, str]:
        """The nodes and the version of Flower, for the card."""
        return self._facts

    def width(self, model: Model, num_parties: int) -> int:
        """Return how many parties train at once."""
        return min(self._num_nodes or _MOST_NODES, num_parties)

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Return a note. Raises OptionError, or MissingExtraError without Flower."""
        _check_installed()
        if os.name != "posix":
            raise OptionError(
                f"{option('engine', 'flower')} needs Linux or macOS",
                f"use {option('engine', 'local')}",
            )
        if self.place:
            return [f"engine: {len(parties)} parties at the SuperLink {self.place}"]
        checked_size("flower", lambda: len(dumps((without_gate(model), parties[:1]))))
        count = self.width(model, len(parties))
        return [
            f"engine: a SuperLink of Flower and {count} nodes on this machine, a rehearsal; a "
            "request takes about a second"
        ]

    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Start the SuperLink and the nodes, and give each node its parties.

        In a running federation: give each node the model.
        """
        self._parties = {party.id: party for party in parties}
        if self.place:
            self._begin(parties, model, gate)
            return
        rehearsal = Rehearsal(model, parties, self.width(model, len(parties)), gate)
        self._rehearsal = rehearsal
        self._facts = {"nodes": str(rehearsal.num_nodes), "flwr": version("flwr")}
        self._conversation = OpenConversation(rehearsal.link, gate, rehearsal.is_gone)
        # An engine that is dropped unclosed leaves no process behind.
        finalizer = weakref.finalize(self, rehearsal.close)
        finalizer.atexit = False  # they end with this process in any case
        self._finalizer = finalizer

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort, and yield their replies in its order."""
        if self._session is not None:
            for reply in asking.ask(self._session, request, cohort):
                remote_app.count(self._parties[reply.party], request, reply)
                yield reply
            return
        assert self._rehearsal is not None
        assert self._conversation is not None
        self._rehearsal.restart_ended()
        questions = (self._question(name, request) for name in cohort)
        for name, answer in self._conversation.ask(questions, self._rehearsal.num_nodes):
            yield self._reply(name, answer)

    @property
    def has_real_time(self) -> bool:
        """Nodes answer on their own."""
        return True

    def run_open(self, round: OpenRound) -> Iterator[Reply]:
        """Ask parties as the round names them, and yield replies as they come.

        A node that has ended is started anew before its party is asked again.
        """
        if self._session is not None:
            for reply in asking.ask_open(self._session, round):
                remote_app.count_training(self._parties[reply.party], reply)
                yield reply
            return
        assert self._rehearsal is not None
        assert self._conversation is not None
        rehearsal = self._rehearsal

        def next_question() -> Question | None:
            if (found := round.next()) is None:
                return None
            rehearsal.restart_ended()
            return self._question(*found)

        for name, answer in self._conversation.ask_open(next_question):
            yield self._reply(name, answer)

    def give_up(self) -> None:
        """Let the nodes give up what `run_open` asked of them."""
        if self._session is not None:
            self._session.give_up()
        elif self._conversation is not None:
            self._conversation.give_up()

    def close(self) -> None:
        """End the nodes and the SuperLink; those of a running federation stay."""
        self._session = None
        self._finalizer()
        self._parties, self._rehearsal, self._conversation = {}, None, None

    def connect(self) -> Session:
        """Return a new connection to the SuperLink of a running federation."""
        _check_installed()
        return Session(Link(self.place, self._root()))

    def _root(self) -> bytes | None:
        """Return the SuperLink's root certificate. Raises OptionError where none is named."""
        file = self._certificates
        if not file and not self._insecure:
            raise OptionError(
                f"{option('engine', f'flower:superlink={self.place}')} names no certificates",
                "add certificates=ca.pem, the root certificate of the SuperLink; insecure=true "
                "goes without encryption, on this machine say",
            )
        if file and not Path(file).expanduser().is_file():
            raise OptionError(
                f"there is no file {file}", "give the SuperLink's root certificate as PEM"
            )
        return Path(file).expanduser().read_bytes() if file else None

    def _begin(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Give the nodes of a running federation the model."""
        first = parties[0]
        assert isinstance(first, RemoteParty)
        session = self._session = first.session
        session.gate = gate
        self._facts = {
            "superlink": self.place,
            "nodes": str(len(parties)),
            "flwr": version("flwr"),
        }
        finalizer = weakref.finalize(self, session.close)
        self._finalizer = finalizer
        asking.set_up(session, first.setup(model))

    @property
    def pids(self) -> Mapping[str, int]:
        """The numbers of the processes of the rehearsal, by their names."""
        return {} if self._rehearsal is None else self._rehearsal.pids

    def _question(self, name: str, request: Request) -> Question:
        """Return a request to a party of the rehearsal, with what the party remembers."""
        assert self._rehearsal is not None
        content = dumps((request, name, self._parties[name].persistent_state))
        return Question(name, self._rehearsal.node_of(name), content)

    def _reply(self, name: str, answer: Answer) -> Reply:
        """Return the reply in an answer; the party's state in it is taken over."""
        if answer.error:
            return Failure(name, answer.error)
        reply: Reply
        # Of a process that this one started, on this machine.
        reply, self._parties[name].persistent_state = pickle.loads(answer.body)
        return reply


def _check_installed() -> None:
    if find_spec("flwr") is None:
        raise missing_extra(ModuleNotFoundError(name="flwr"), option("engine", "flower"))
