"""The server's part in a conversation of a run with parties that keep their rows: it moves bytes.

It opens no message: a request is a file that the process that trains wrote, and a reply is one for
it, see `mail/mailbox.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fusion_nb.core.files import storage
from fusion_nb.service import request_fields
from fusion_nb.service.aggregator import FINISHED, Aggregator
from fusion_nb.service.errors import FieldError, OrderError, RefusedError, TokenError, UnknownError
from fusion_nb.service.mail.mailbox import Mailbox, MessageId

#: Seconds that a call waits for a message, and between two looks.
WAIT_SECONDS = 20.0
_LOOK_SECONDS = 0.1
#: Looks after which a waiting call is recorded again.
_LOOKS_PER_CALL = 10


class Delivery(NamedTuple):
    """The answer to a call for a message.

    id: "" where there is none now;  body: the open file of the message
    """

    id: str
    body: BinaryIO | None
    has_ended: bool


class Messages:
    """Carries messages between the runs of a service and its parties.

    home:    the folder of all aggregators;  closing: set when the server is about to end
    """

    def __init__(self, home: Path, closing: asyncio.Event) -> None:
        self._home, self._closing = home, closing

    async def next(
        self,
        aggregator: Aggregator,
        party: str,
        token: str,
        *,
        node: str,
        after: str,
        is_gone: Callable[[], Awaitable[bool]],
    ) -> Delivery:
        """Return the next message to a party; wait for one for a while.

        node:  as the registration gave it;  after: the last message that arrived, or ""
        is_gone: returns whether the caller has hung up
        Raises UnknownError, TokenError, FieldError, or OrderError for a node that was replaced.
        """
        box = self._mailbox(aggregator, party, token)
        last = _read_id(after, "after") if after else None
        for look in range(round(WAIT_SECONDS / _LOOK_SECONDS)):
            if over(aggregator):
                break
            if look % _LOOKS_PER_CALL == 0:
                try:
                    box.call(node)
                except OrderError:
                    if over(aggregator):  # its messages were deleted just now
                        break
                    raise
            if last is not None:
                await asyncio.to_thread(box.drop, last)
                last = None
            found = box.first(node)
            body = box.opened(found) if found is not None else None
            if found is not None and body is not None:
                return Delivery(str(found), body, has_ended=False)
            if self._closing.is_set() or await is_gone():
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return Delivery("", None, has_ended=over(aggregator))

    async def answer(
        self,
        aggregator: Aggregator,
        party: str,
        token: str,
        *,
        message: str,
        body: AsyncIterator[bytes],
    ) -> None:
        """Take the reply of a party to a message.

        Raises UnknownError where no run waits for it, TokenError or FieldError.
        """
        box = self._mailbox(aggregator, party, token)
        found = _read_id(message, "message_id")
        box.check_waiting(found)  # before the reply is read
        # Not in the aggregator's folder, where the end of a training removes drafts.
        with storage.draft_folder(self._home) as draft:
            path = draft / "reply"
            size = 0
            with path.open("xb") as file:
                async for part in body:
                    size += len(part)
                    await asyncio.to_thread(file.write, part)
            if not size:
                raise RefusedError("the reply is empty", "send the whole reply as the body")
            await asyncio.to_thread(box.place, found, path)

    @staticmethod
    def _mailbox(aggregator: Aggregator, party: str, token: str) -> Mailbox:
        name = request_fields.normal_name(party)
        for found in aggregator.folder.registered():
            if found["party"] == name and found.get("keeps_rows"):
                check_token(found["token"], token, name)
                return Mailbox(found["path"] / "mail")
        raise UnknownError(
            f"no party {name!r} keeps its rows here",
            "POST /start-party with keeps_rows registers one",
        )


def over(aggregator: Aggregator) -> bool:
    """Return whether nothing more will be asked of parties."""
    return aggregator.run.has_ended or aggregator.run.name == FINISHED


def digest(token: str) -> str:
    """Return the form in which a party's token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


def check_token(stored: str, token: str, party: str) -> None:
    """Raise TokenError unless a token is the one whose digest was stored."""
    if not hmac.compare_digest(stored, digest(token)):
        raise TokenError(
            f"this is not the token of {party!r}",
            "send the token with which the party registered",
        )


def _read_id(text: str, field: str) -> MessageId:
    if (found := MessageId.read(text)) is None:
        raise FieldError(
            field, f"{field} is no id of a message", "X-Fusion-Message has it in each answer"
        )
    return found
