"""The messages of one party that keeps its rows: whole files in its folder.

node.json                  the node that takes part; its time is that of the node's last call
NODE/request-RUN-NUMBER    a message to the node, which no call has fetched yet
NODE/taken-RUN-NUMBER      the empty file of one that was fetched, until its reply is there
NODE/reply-RUN-NUMBER      a reply, which the run has not read yet

A node is one program of the party, from its registration to its end; RUN is one process that
trains, and numbers its messages upwards. The server and that process share the folder and no more.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fusion_nb.core.files import storage
from fusion_nb.service.errors import OrderError, UnknownError

#: Seconds without a call after which a node counts as gone.
PRESENT_SECONDS = 15.0
_ID = re.compile(r"([0-9a-f]{16})-([0-9a-f]{12})-([0-9]{8})")


class MessageId(NamedTuple):
    """The name of a message, as calls write it: `NODE-RUN-NUMBER`."""

    node: str
    run: str
    number: str

    @classmethod
    def read(cls, text: str) -> MessageId | None:
        """Return the parts of a name, or None for other text, which may name a file elsewhere."""
        found = _ID.fullmatch(text)
        return cls(*found.groups()) if found else None

    def __str__(self) -> str:
        return "-".join(self)


class Mailbox:
    """The messages of one party, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> str:
        """Return a new node, which takes the place of an earlier one and of its messages."""
        node = f"{secrets.randbits(62):016x}"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        (self._folder / node).mkdir(mode=0o700)
        storage.write_json(self._folder / "node.json", {"node": node})
        for path in self._folder.iterdir():
            if path.is_dir() and path.name != node:
                shutil.rmtree(path, ignore_errors=True)
        return node

    @property
    def node(self) -> str:
        """The node that takes part, or "" before the first."""
        return str(storage.read_json(self._folder / "node.json").get("node", ""))

    def is_present(self) -> bool:
        """Return whether the node has called a moment ago."""
        with suppress(FileNotFoundError):
            last = (self._folder / "node.json").stat().st_mtime
            return time.time() - last < PRESENT_SECONDS
        return False

    def call(self, node: str) -> None:
        """Record a call of a node. Raises OrderError where another has taken its place."""
        if node != self.node:
            raise OrderError(
                "another program takes part for this party",
                "end one of the two; the one that registers last takes part",
            )
        with suppress(FileNotFoundError):
            os.utime(self._folder / "node.json")

    def drop(self, after: MessageId) -> None:
        """Empty the messages of a run up to one: the node has them."""
        for found in self._all("request", after.node):
            if found.run == after.run and found.number <= after.number:
                with suppress(FileNotFoundError):
                    os.replace(self._path("request", found), self._path("taken", found))
                    os.truncate(self._path("taken", found), 0)

    def first(self, node: str) -> MessageId | None:
        """Return the first message that its node has not fetched yet, or None."""
        return min(self._all("request", node), default=None)

    def opened(self, message: MessageId) -> BinaryIO | None:
        """Return the open file of a message, or None where its run has withdrawn it."""
        with suppress(FileNotFoundError):
            return self._path("request", message).open("rb")
        return None

    def check_waiting(self, message: MessageId) -> None:
        """Raise UnknownError unless a run waits for the reply to a message."""
        is_waiting = message.node == self.node and any(
            self._path(kind, message).exists() for kind in ("request", "taken")
        )
        if not is_waiting:
            raise UnknownError(
                "no run waits for a reply to this message", "GET /messages has the next one"
            )

    def place(self, message: MessageId, draft: Path) -> None:
        """Take over a whole file as the reply to a message; messages before it need none.

        Raises UnknownError unless a run waits for it.
        """
        self.check_waiting(message)
        storage.sync(draft)
        with suppress(FileNotFoundError):  # the run has ended meanwhile
            os.replace(draft, self._path("reply", message))
        for kind in ("request", "taken"):
            for found in self._all(kind, message.node):
                if found.run == message.run and found.number <= message.number:
                    self._path(kind, found).unlink(missing_ok=True)

    # The run's half

    def put(self, message: MessageId, body: bytes) -> bool:
        """Send a message, and return whether its node takes part."""
        try:
            storage.write_file(self._path("request", message), lambda file: file.write(body))
        except FileNotFoundError:  # another node has taken its place
            return False
        return True

    def take(self, message: MessageId) -> bytes | None:
        """Return a reply, which is removed, or None where there is none yet."""
        path = self._path("reply", message)
        with suppress(FileNotFoundError):
            body = path.read_bytes()
            path.unlink()
            return body
        return None

    def clear(self) -> set[str]:
        """Remove all messages and replies, and return the runs that they were of."""
        runs = set()
        for path in self._folder.glob("*/*-*-*"):
            runs.add(path.name.split("-")[1])
            path.unlink(missing_ok=True)
        return runs

    def _path(self, kind: str, message: MessageId) -> Path:
        return self._folder / message.node / f"{kind}-{message.run}-{message.number}"

    def _all(self, kind: str, node: str) -> list[MessageId]:
        """Return the messages of a node that have a file of a kind."""
        try:
            names = os.listdir(self._folder / node)
        except FileNotFoundError:
            return []
        found = (name.partition("-") for name in names)
        ids = (MessageId.read(f"{node}-{rest}") for word, _, rest in found if word == kind)
        return [each for each in ids if each is not None]
