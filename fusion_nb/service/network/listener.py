"""The listening socket, which bounds the number of open connections.

Connections are counted where they are accepted, so that those that never finish a TLS handshake
count too.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.service.network.addresses import owner
from fusion_nb.service.network.headers import SECURITY_HEADERS

#: The share of all connections that one address may have, as a divisor.
_ADDRESSES_AT_LEAST = 4
#: Files of the process that are left for everything but connections: the log, pipes, uploads.
_OTHER_FILES = 64
#: Connections that are accepted at once; then the event loop closes those that were dropped.
_BURST = 32
_BUSY = {
    "error": "this address has too many open connections, or the server has",
    "hint": "close some, or try again later",
}
_READ = 1 << 16


@dataclass
class _Connection:
    accepted: socket.socket
    owner: str
    is_busy: bool = False
    since: float = field(default_factory=time.monotonic)


class Connections:
    """The open connections of a server, by the address of the client and by whether they are busy.

    A connection is busy from the head of a request to the end of its answer. A new one takes the
    place of the one that has been idle longest, so that idle connections never keep others out; it
    is refused only where all are busy.
    max_connections: number in all;  max_per_address: number of those from one address
    """

    def __init__(self, max_connections: int, max_per_address: int = 0) -> None:
        self._max = max_connections
        self._max_per_address = max_per_address or max(1, max_connections // _ADDRESSES_AT_LEAST)
        self._open: dict[Any, _Connection] = {}

    def admit(self, accepted: socket.socket, peer: Sequence[Any]) -> bool:
        """Count a connection that was accepted, and return whether there is room for it."""
        self._open = {
            other: found for other, found in self._open.items() if found.accepted.fileno() >= 0
        }
        made = _Connection(accepted, owner(str(peer[0])))
        own = [found for found in self._open.values() if found.owner == made.owner]
        is_room = self._make_room(own, self._max_per_address) and self._make_room(
            list(self._open.values()), self._max
        )
        if is_room:
            self._open[_key(peer)] = made
        return is_room

    def set_busy(self, peer: Sequence[Any] | None, is_busy: bool) -> None:
        """Record that a request of a connection has begun, or that its answer has ended."""
        found = self._open.get(_key(peer)) if peer else None
        if found is not None and found.is_busy != is_busy:
            found.is_busy = is_busy
            found.since = time.monotonic()

    def _make_room(self, others: list[_Connection], maximum: int) -> bool:
        """Drop the connection that has been idle longest if there are too many; else return
        False.
        """
        if len(others) < maximum:
            return True
        idle = [found for found in others if not found.is_busy]
        if not idle:
            return False
        dropped = min(idle, key=lambda found: found.since)
        self._open = {other: found for other, found in self._open.items() if found is not dropped}
        with suppress(OSError):  # the client has closed it already
            # The event loop sees its end, and closes it.
            dropped.accepted.shutdown(socket.SHUT_RDWR)
        return True


class Listener(socket.socket):
    """A listening socket that accepts as many connections as `connections` has room for."""

    connections: Connections | None = None
    #: Whether connections are encrypted, so that nothing can be said before the handshake.
    is_tls = False
    _num_accepted = 0

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept the next connection for which there is room.

        Raises BlockingIOError if none waits.
        """
        while True:
            self._num_accepted += 1
            if self._num_accepted > _BURST:
                self._num_accepted = 0
                raise BlockingIOError
            accepted, peer = super().accept()
            if self.connections is None or self.connections.admit(accepted, peer):
                return accepted, peer
            _refuse(accepted, self.is_tls)


def connection_limit(wanted: int) -> int:
    """Return how many connections there can be, given the files that this process may open."""
    try:
        import resource
    except ModuleNotFoundError:  # not on Windows, where the server does not run
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + _OTHER_FILES
    if soft < needed:
        with suppress(ValueError, OSError):
            soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # An upload may need a file beside its connection.
    return max(1, min(wanted, (soft - _OTHER_FILES) // 2))


def _refuse(accepted: socket.socket, is_tls: bool) -> None:
    """Close a connection, after one short answer if that can be sent at once."""
    with accepted, suppress(OSError):
        accepted.setblocking(False)
        if not is_tls:
            body = json.dumps(_BUSY)
            headers = {
                **SECURITY_HEADERS,
                "content-type": "application/json",
                "content-length": str(len(body)),
                "connection": "close",
                "retry-after": "10",
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            accepted.send(f"HTTP/1.1 503 Service Unavailable\r\n{head}\r\n{body}".encode())
            accepted.shutdown(socket.SHUT_WR)
            accepted.recv(_READ)  # what is unread would reset the connection, and lose the answer


def _key(peer: Sequence[Any]) -> tuple[Any, ...]:
    """Return address and port of a client, which no other open connection has."""
    return tuple(peer[:2])
