"""A party's connection to a SuperLink: it speaks the protocol of a SuperNode by itself.

A stock SuperNode starts a process for every message and waits 3 seconds between two looks, which
takes some ten seconds a request. Here one process lives as long as the party takes part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fusion_nb.engines.flower.link import body_of, content_of
from fusion_nb.engines.flower.names import flower

#: Seconds to wait for the parts of a message, before a look at whether its run has ended.
_PULL_SECONDS = 3.0


class Incoming:
    """A message that came in, of which nothing was believed yet.

    size: bytes of all its parts
    """

    def __init__(self, message: Any, size: int) -> None:
        self.message, self.size = message, size

    @property
    def run(self) -> int:
        """The run at the SuperLink that it belongs to."""
        return int(self.message.metadata.run_id)

    @property
    def body(self) -> bytes:
        """Its body. Raises ValueError for a message of another program."""
        return body_of(self.message)


class Fleet:
    """A connection under way: `receive` asks for a message, `send` answers one."""

    def __init__(self, callbacks: Any) -> None:
        (
            self.node_id,
            self._receive,
            self._send,
            self._get_run,
            _,
            self._pull_object,
            self._push_object,
            self._confirm,
        ) = callbacks

    @property
    def name(self) -> str:
        """The number of the node, as its owner reads it."""
        return str(self.node_id)

    def receive(self) -> Incoming | None:
        """Return the next message to this node, or None where there is none now.

        A message whose run ends while it comes in counts as none: that ends no party.
        """
        try:
            return self._next()
        except flower("RunNotRunningException"):
            return None

    def _next(self) -> Incoming | None:
        found = self._receive()
        if found is None:
            return None
        message, tree = found
        run_id, message_id = message.metadata.run_id, message.metadata.message_id
        ids = [part.object_id for part in flower("iterate_object_tree")(tree)]
        contents = self._pull(run_id, ids)
        if contents is None:
            return None
        self._confirm(run_id, message_id)
        size = sum(map(len, contents.values()))
        whole = flower("inflate_object_from_contents")(message_id, contents)
        whole.metadata.__dict__["_message_id"] = message_id
        return Incoming(whole, size)

    def _pull(self, run_id: int, ids: list[str]) -> dict[str, bytes] | None:
        """Return the parts of a message, or None where its run ended before they came."""
        while True:
            try:
                found: dict[str, bytes] = flower("pull_objects")(
                    ids, lambda part: self._pull_object(run_id, part), max_time=_PULL_SECONDS
                )
            except flower("ObjectPullError"):
                if self._has_ended(run_id):
                    return None
            else:
                return found

    def _has_ended(self, run_id: int) -> bool:
        try:
            return bool(self._get_run(run_id).status.status == flower("Status").FINISHED)
        except flower("RunNotRunningException"):
            return True

    def send(self, incoming: Incoming, body: bytes) -> None:
        """Answer a message. A run that has ended meanwhile needs no answer."""
        with suppress(flower("RunNotRunningException")):
            self._push(incoming, body)

    def _push(self, incoming: Incoming, body: bytes) -> None:
        asked = incoming.message.metadata
        reply = flower("Message")(content=content_of(body), reply_to=incoming.message)
        with flower("no_object_id_recompute")():
            reply.metadata.__dict__["_message_id"] = reply.object_id
            tree = flower("get_object_tree")(reply)
            parts = flower("get_all_nested_objects")(reply)
            wanted, session = self._send(reply, tree, 0.0)
            flower("push_objects")(
                parts,
                lambda part, content: self._push_object(asked.run_id, session, part, content),
                object_ids_to_push=wanted,
            )


@contextmanager
def connected(address: str, certificates: bytes | None, keys: Any = None) -> Iterator[Fleet]:
    """Take part as a node of a SuperLink until the end.

    certificates: the root certificates as PEM; None for a SuperLink without TLS
    keys:         the node's own private and public key, or None for new ones
    """
    make = flower("http_request_response")
    with make(address, certificates is None, certificates, keys) as callbacks:
        yield Fleet(callbacks)
