"""The transport of messages between an aggregator and the programs of parties, as a contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol, TypeVar

#: The name of the engine over parties of a service that keep their rows. The process of a service
#: that trains registers it; nobody else can choose it.
OF_A_SERVICE = "parties_of_service"

Message = TypeVar("Message", bound="Incoming")


class Answer(NamedTuple):
    """A reply that arrived: its body, or the error that took its place."""

    body: bytes
    error: str = ""


class Link(Protocol):
    """The aggregator's end. A node is one program of a party, from its start to its end.

    place: where the nodes are known, in messages, as "the SuperLink"
    how:   the command that starts a node, in messages
    Methods raise RunError where the transport is gone.
    """

    place: str
    how: str

    def nodes(self) -> list[int]:
        """Return the ids of the nodes that are there now."""

    def name_of(self, node: int) -> str:
        """Return the name under which a node is known here; "" where it says its own."""

    def push(self, bodies: Iterable[tuple[int, bytes]]) -> list[str]:
        """Send a body to each of some nodes, and return the ids of the messages.

        The id of a message that is not taken is "".
        """

    def pull(self, ids: Iterable[str]) -> Mapping[str, Answer]:
        """Return the replies that have come, by the ids of the messages that they answer."""

    def close(self) -> None:
        """End the run. Safe to call twice."""


class Incoming(Protocol):
    """A message that came to a party, of which nothing was believed yet."""

    @property
    def run(self) -> int:
        """The run that it belongs to, as the transport counts them."""

    @property
    def body(self) -> bytes:
        """Its body. Raises ValueError for a message of another program."""


class Fleet(Protocol[Message]):
    """A party's end. `receive` and `send` may be called in two threads at once."""

    @property
    def name(self) -> str:
        """The node's name, for the party's log."""

    def receive(self) -> Message | None:
        """Return the next message to this node, or None where there is none now.

        Raises EndedError once no further message can come.
        """

    def send(self, incoming: Message, body: bytes) -> None:
        """Answer a message. One whose run has ended meanwhile needs no answer."""


class EndedError(Exception):
    """The federation has ended, and its parties have no more to do. The text says how."""
