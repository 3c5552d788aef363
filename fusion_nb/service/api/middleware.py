"""The gate before all calls: who is it, how much does it send, what is kept of it in the log."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fusion_nb.service.error_log import log_fault
from fusion_nb.service.errors import TooLargeError, as_json
from fusion_nb.service.storage.keys import Keys

_log = logging.getLogger(__name__)
#: Calls that need no key.
_OPEN = {"/health"}
#: Bytes that are read of a body that is refused, so that its sender comes to read the answer.
_DRAINED = 64 << 20
#: Bytes of a body that is no form.
_MAX_JSON = 64 << 10
#: What the log has as the status of a call whose client left before it was answered.
_LEFT = 499
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class Gate:
    """Lets calls with a key pass, up to a size, and keeps a line of each in the log: no secret, no
    id, no data.
    """

    def __init__(self, app: ASGIApp, keys: Keys, max_upload: int) -> None:
        self._app = app
        self._keys, self._max_upload = keys, max_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_form = headers.get("content-type", "").lower().startswith(_FORMS)
        limit = self._max_upload if is_form else min(_MAX_JSON, self._max_upload)
        call = _Call(scope, receive, send, limit)
        client_id = self._keys.who(headers.get("authorization", ""))
        scope.setdefault("state", {})["client_id"] = client_id
        refusal = _refusal(scope, headers, client_id, limit)
        try:
            if refusal is not None:
                if refusal.status_code == 413 and "expect" not in headers:
                    await call.drain()
                await refusal(scope, receive, call.send)
            else:
                await self._app(scope, call.receive, call.send)
        except ClientDisconnect:
            call.status = _LEFT
        except Exception as error:
            log_fault(_log, "a fault", error, id=call.id)
            if call.status:
                raise _Broken from None  # part of the answer is out: the connection must end
            told = {
                "error": "the server failed",
                "hint": "its log has more under this id",
                "id": call.id,
            }
            await JSONResponse(told, 500)(scope, receive, call.send)
        finally:
            call.log(client_id)


class _Broken(Exception):
    """The answer can't be finished."""


class _Call:
    """One call on its way through: its id, the bytes that it has sent, and the status of its
    answer.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self.id = secrets.token_hex(4)
        self.status = 0
        self._scope, self._receive, self._send = scope, receive, send
        self._limit, self._got = limit, 0
        self._started = time.perf_counter()

    async def receive(self) -> Message:
        """Return the next piece of the body. Raises TooLargeError for one too many."""
        message = await self._receive()
        self._got += len(message.get("body", b""))
        if self._got > self._limit:
            await self.drain()
            raise TooLargeError(
                "too large"
            )  # whatever is made of that, `send` answers in its place
        return message

    async def drain(self) -> None:
        """Read on for a while, for nothing."""
        left = _DRAINED
        while left > 0:
            message = await self._receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body", False):
                return

    async def send(self, message: Message) -> None:
        """Pass on what is answered, or the refusal of a body that is too large."""
        if self._got > self._limit:
            if not self.status:
                self.status = 413
                await _too_large(self._limit)(self._scope, self._receive, self._send)
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    def log(self, client_id: str) -> None:
        """Keep what was asked, by the pattern of its path, who asked, and how it was answered."""
        route: Any = self._scope.get("route")
        told = {
            "id": self.id,
            "client": client_id,
            "method": self._scope["method"],
            "route": getattr(route, "path", ""),
            "status": self.status,
            "ms": round(1000 * (time.perf_counter() - self._started), 1),
        }
        _log.info("call", extra=told)


def _refusal(scope: Scope, headers: Headers, client_id: str, limit: int) -> JSONResponse | None:
    """Return the answer to a call that goes no further."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        # A page elsewhere would be let in by what the browser remembers of the docs page.
        told = {
            "error": "a page of another site can't call this service",
            "hint": "call it from a program",
        }
        return JSONResponse(told, 403)
    if not client_id and scope["path"].removeprefix(scope.get("root_path", "")) not in _OPEN:
        told = {
            "error": "a client id and its secret are needed",
            "hint": "send both in a Basic or Bearer header",
        }
        if "authorization" in headers:
            told = {
                "error": "this client id and secret are not known here",
                "hint": "are they this server's?",
            }
        told["hint"] += " The operator makes a key by: fusion-nb keys new"
        return JSONResponse(
            told, 401, {"WWW-Authenticate": 'Basic realm="Model Fusion", charset="UTF-8"'}
        )
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        return _too_large(limit)
    return None


def _too_large(limit: int) -> JSONResponse:
    hint = (
        "send less, or start the server with more --max-upload"
        if limit != _MAX_JSON
        else "send the id alone"
    )
    return JSONResponse(as_json(TooLargeError(f"a request may have {limit:,} bytes", hint)), 413)
