"""A relay between parties and a server that keeps every byte, and the messages among them."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from fusion_nb.core.files.tree_file import unpack_tree

_LENGTH = re.compile(rb"\ncontent-length: (\d+)\r\n(?:[^\r\n]+\r\n)*\r\n", re.IGNORECASE)
#: Bytes of a message before its tree.
_HEAD = 9


class Traffic:
    """Every byte of all connections: what went to the server, and what came from it."""

    def __init__(self, address: str) -> None:
        self.turn_to(address)
        self._streams: list[tuple[bool, bytearray]] = []
        self._sockets: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def turn_to(self, address: str) -> None:
        """Pass further connections on to a server."""
        found = urlsplit(address)
        assert found.hostname
        assert found.port
        self._server = (found.hostname, found.port)

    def close(self) -> None:
        for each in (self._listening, *self._sockets):
            each.close()

    def streams(self, *, to_server: bool) -> list[bytes]:
        """Return the bytes of each connection in one direction."""
        return [bytes(stream) for is_up, stream in self._streams if is_up == to_server]

    def bodies(self, *, to_server: bool) -> list[bytes]:
        """Return the bodies of all requests, or of all answers."""
        found = []
        for stream in self.streams(to_server=to_server):
            end = 0
            while (head := _LENGTH.search(stream, end)) is not None:
                end = head.end() + int(head[1])
                found.append(stream[head.end() : end])
        return found

    def requests(self) -> list[dict[str, Any]]:
        """Return what parties were asked, as trees."""
        found = []
        for body in self.bodies(to_server=False):
            with suppress(ValueError):
                tree = unpack_tree(body[_HEAD:], "it")
                if isinstance(tree, dict):
                    found.append(tree)
        return found

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                party, _ = self._listening.accept()
                try:
                    server = socket.create_connection(self._server)
                except OSError:  # it was killed
                    party.close()
                    continue
                self._sockets += [party, server]
                for source, target, is_up in ((party, server, True), (server, party, False)):
                    kept = bytearray()
                    self._streams.append((is_up, kept))
                    threading.Thread(
                        target=self._copy, args=(source, target, kept), daemon=True
                    ).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
        with suppress(OSError):
            while part := source.recv(1 << 16):
                kept += part
                target.sendall(part)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def recorded(address: str) -> Iterator[Traffic]:
    """Yield a relay to a server."""
    made = Traffic(address)
    try:
        yield made
    finally:
        made.close()
