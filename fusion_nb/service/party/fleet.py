"""A party's end of the messages of a service: it asks for each, and nothing reaches it unasked."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from fusion_nb.core.files.tree_file import pack_tree
from fusion_nb.engines.remote.link import EndedError
from fusion_nb.errors import ServiceError
from fusion_nb.service.mail.mailbox import MessageId
from fusion_nb.service.transport import Transport

#: Seconds that a call for a message may take: the service answers before.
_CALL_SECONDS = 60.0
#: Tries of a call that the service does not answer, and seconds between two.
_TRIES, _AGAIN_SECONDS = 5, 1.0
_NOT_FOUND, _TOO_LARGE = 404, 413

Found = TypeVar("Found")


class Mail(NamedTuple):
    """A message that came, of which nothing was believed yet.

    id: its name at the service
    """

    id: str
    body: bytes

    @property
    def run(self) -> int:
        """The process that trains, and sent it."""
        found = MessageId.read(self.id)
        return int(found.run, 16) if found else 0


class ServiceFleet:
    """The messages of one party to and from an aggregator.

    name: the node that the registration gave;  token: of the party
    most: bytes of a message that are read, at most: one that is longer is refused by its length
    """

    def __init__(
        self, transport: Transport, aggregator_id: str, party: str, token: str, name: str, most: int
    ) -> None:
        self.name = name
        self._transport, self._most = transport, most
        self._path = f"/messages/{quote(aggregator_id, safe='')}"
        self._party, self._headers = party, {"X-Fusion-Token": token}
        self._last = ""

    def receive(self) -> Mail | None:
        """Return the next message, or None where there is none now.

        Raises EndedError once the federation has ended, and ServiceError.
        """
        params = {"party": self._party, "node": self.name, "after": self._last}
        headers, body = _patiently(
            lambda: self._transport.fetch(
                self._path,
                most=self._most,
                seconds=_CALL_SECONDS,
                params=params,
                headers=self._headers,
            )
        )
        if headers.get("X-Fusion-Ended") == "true":
            raise EndedError("the federation has ended; no row has left this machine")
        if not (message := headers.get("X-Fusion-Message", "")):
            return None
        if MessageId.read(message) is None:
            raise ServiceError("its message has no id", "is the address right?")
        self._last = message
        return Mail(message, body)

    def send(self, incoming: Mail, body: bytes) -> None:
        """Answer a message. One that no run waits for any more needs no answer."""
        try:
            self._post(incoming, body)
        except ServiceError as error:
            if error.status == _TOO_LARGE:
                line = f"its reply has {len(body)} bytes, more than the service takes"
                self._post(incoming, pack_tree({"refused": line}, "reply"))
            elif error.status != _NOT_FOUND:
                raise

    def _post(self, incoming: Mail, body: bytes) -> None:
        headers = self._headers | {"Content-Type": "application/octet-stream"}
        path = f"{self._path}/{quote(incoming.id, safe='')}"
        params = {"party": self._party}
        _patiently(
            lambda: self._transport.call("POST", path, params=params, headers=headers, content=body)
        )


def _patiently(call: Callable[[], Found]) -> Found:
    """Return the result of a call, which is tried again while the service gives no answer."""
    for _ in range(_TRIES - 1):
        try:
            return call()
        except ServiceError as error:
            if error.status:
                raise
        time.sleep(_AGAIN_SECONDS)
    return call()
