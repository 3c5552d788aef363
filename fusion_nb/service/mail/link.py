"""The run's end of the messages with parties that keep their rows."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from fusion_nb.engines.remote.answering import GIVE_UP, Envelope
from fusion_nb.engines.remote.link import Answer
from fusion_nb.errors import RunError
from fusion_nb.service.mail.mailbox import Mailbox, MessageId

#: A number above those of all requests.
_ALL = 2**63 - 1


class MailLink:
    """One run's messages to the parties whose mailboxes it is given, by their names.

    Messages of an earlier run, whose process was killed, are removed; its nodes are told to give
    them up.
    """

    place = "the service"
    how = "fusion-nb party --service ... --aggregator ... --data rows.npz --name ..."

    def __init__(self, boxes: Mapping[str, Mailbox]) -> None:
        self._boxes = boxes
        self._run = f"{secrets.randbits(48):012x}"
        self._numbers = itertools.count(1)
        self._is_open = True
        #: Every node so far, with the party that it is of.
        self._party: dict[int, str] = {}
        for box in boxes.values():
            before = box.clear()
            for run in before - {self._run} if box.node else ():
                last = MessageId(box.node, run, "9" * 8)
                box.put(last, Envelope(GIVE_UP, _ALL, b"").packed())

    def nodes(self) -> list[int]:
        """Return the nodes that have called a moment ago."""
        self._check_open()
        found = {int(b.node, 16): party for party, b in self._boxes.items() if b.is_present()}
        self._party |= found
        return sorted(found)

    def name_of(self, node: int) -> str:
        """Return the name under which a node's party registered."""
        return self._party[node]

    def push(self, bodies: Iterable[tuple[int, bytes]]) -> list[str]:
        """Write a message for each of some nodes; "" is the id where a node was replaced."""
        self._check_open()
        return [self._put(node, body) for node, body in bodies]

    def pull(self, ids: Iterable[str]) -> Mapping[str, Answer]:
        """Return the replies that have come."""
        self._check_open()
        found = {}
        for text in [*ids]:
            message = MessageId.read(text)
            if message is not None and (body := self._box(message).take(message)) is not None:
                found[text] = Answer(body)
        return found

    def close(self) -> None:
        """End the run; parties go on to ask for messages of the next one."""
        self._is_open = False

    def _put(self, node: int, body: bytes) -> str:
        message = MessageId(f"{node:016x}", self._run, f"{next(self._numbers):08}")
        return str(message) if self._box(message).put(message, body) else ""

    def _box(self, message: MessageId) -> Mailbox:
        return self._boxes[self._party[int(message.node, 16)]]

    def _check_open(self) -> None:
        if not self._is_open:
            raise RunError("the run has ended, and its parties are asked nothing more")


def boxes_of(parties: Iterable[Mapping[str, object]]) -> dict[str, Mailbox]:
    """Return the mailboxes of registered parties, by their names."""
    return {str(party["party"]): Mailbox(Path(str(party["path"])) / "mail") for party in parties}
