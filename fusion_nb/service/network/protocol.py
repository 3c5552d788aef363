"""HTTP/1.1 with limits of time: a connection must make progress, or it is closed.

uvicorn's protocol closes a connection that is silent between two requests, and h11 bounds the head
of a request that is not whole. Neither bounds the time that a head, or a body, may take.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from fusion_nb.service.network.headers import SECURITY_HEADERS, head_too_long
from fusion_nb.service.network.listener import Connections

#: Phases of a connection: the head of a request is waited for, a call is answered, or the rest of
#: a body is dropped whose call was answered already.
_HEAD, _CALL, _REST = "head", "call", "rest"


@dataclass(frozen=True)
class Patience:
    """Seconds that a connection may take.

    head: from its beginning, or that of the next head, to the end of the head; and for the rest of
          a body whose call was answered already
    idle: between two parts of a body, and between two parts of an answer that the client reads
    """

    head: float = 20
    idle: float = 60


class LimitedProtocol(H11Protocol):
    """One connection, closed when it takes longer than its patience allows."""

    def __init__(
        self, *args: Any, connections: Connections, patience: Patience, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._all = connections
        self._patience = patience
        self._phase = ""
        self._peer: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the head of a request."""
        super().connection_made(transport)
        self._peer = transport.get_extra_info("peername")
        self._enter()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel all timers."""
        for timer in (self._timer, self._reader):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        super().data_received(data)
        self._enter(is_progress=True)

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        super().on_response_complete()
        self._enter()

    def pause_writing(self) -> None:
        """Watch whether the client reads its answer."""
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._reader = self.loop.call_later(self._patience.idle, self._check_reader)

    def resume_writing(self) -> None:
        """End the watch: the client has read nearly all."""
        super().resume_writing()
        if self._reader is not None:
            self._reader.cancel()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that h11 can't read, by the status that h11 names."""
        cause = sys.exception()
        status = cause.error_status_hint if isinstance(cause, h11.RemoteProtocolError) else 400
        if status == 431:
            self._refuse(status, head_too_long())
        else:
            hint = "call the service by a program that speaks HTTP/1.1"
            self._refuse(status, {"error": "the request is not valid HTTP/1.1", "hint": hint})

    def _enter(self, is_progress: bool = False) -> None:
        """Enter the phase that the connection is in now, and start the phase's timer.

        is_progress: whether a part of a request has just arrived
        """
        if self.transport.is_closing():
            return
        is_answered = self.cycle is None or self.cycle.response_complete
        is_body = self.conn.their_state is h11.SEND_BODY
        phase = (_REST if is_body else _HEAD) if is_answered else _CALL
        is_new = phase != self._phase
        if is_new:
            self._phase = phase
            self._all.set_busy(self._peer, phase == _CALL)
        if phase == _CALL:
            if is_new or is_progress:
                self._start_timer(self._patience.idle if is_body else None)
        elif is_new or self._timer is None:
            self._start_timer(self._patience.head)

    def _start_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._timer = self.loop.call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        """Close a connection whose time is over."""
        self._timer = None
        if self.transport.is_closing():
            return
        if self._phase == _CALL and self.flow.read_paused:  # the server is slow, not the client
            self._start_timer(self._patience.idle)
            return
        if self._phase == _HEAD and self.conn.trailing_data[0]:
            seconds = f"{self._patience.head:g} seconds"
            self._refuse(
                408,
                {
                    "error": f"the head of a request took more than {seconds}",
                    "hint": "send it at once",
                },
            )
        else:
            self.transport.close()

    def _check_reader(self) -> None:
        """Close a connection whose client has read nothing of its answer for a while."""
        unread = self.transport.get_write_buffer_size()
        if unread >= self._unread:
            self.transport.abort()
            return
        self._unread = unread
        self._reader = self.loop.call_later(self._patience.idle, self._check_reader)

    def _refuse(self, status: int, body: dict[str, str]) -> None:
        """Answer a request that the application does not see, and close the connection."""
        # In the middle of an answer nothing can be said.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and (
            self.cycle is None or self.cycle.response_complete
        ):
            content = json.dumps(body).encode()
            headers = {
                **SECURITY_HEADERS,
                "content-type": "application/json",
                "content-length": str(len(content)),
                "connection": "close",
            }
            reason = HTTPStatus(status).phrase
            response = h11.Response(
                status_code=status, headers=list(headers.items()), reason=reason
            )
            for event in (response, h11.Data(data=content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
