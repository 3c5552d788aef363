"""The gate before all calls: who is it, how much does it send, what is kept of it in the log."""

from __future__ import annotations

import logging
import secrets
import time
import traceback
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fusion_nb.service.errors import TooLargeError, as_json
from fusion_nb.service.keys import Keys

_log = logging.getLogger(__name__)
#: Calls that need no key.
_OPEN = {"/health"}
#: Bytes that are read of a body that is refused, so that its sender comes to read the answer.
_DRAINED = 64 << 20
#: Frames of a fault that are kept: those nearest to it.
_FRAMES = 8


class Gate:
    """Lets calls with a key pass, up to a size, and keeps a line of each in the log: no secret, no id, no data."""

    def __init__(self, app: ASGIApp, keys: Keys, max_upload: int) -> None:
        self._app = app
        self._keys = keys
        self._max_upload = max_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call = _Call(scope, receive, send, self._max_upload)
        headers = Headers(scope=scope)
        client_id = self._keys.who(headers.get("authorization", ""))
        scope.setdefault("state", {})["client_id"] = client_id
        refusal = self._refusal(scope, headers, client_id)
        try:
            if refusal is not None:
                if refusal.status_code == 413 and "expect" not in headers:
                    await call.drain()
                await refusal(scope, receive, call.send)
            else:
                await self._app(scope, call.receive, call.send)
        except Exception as error:
            # The message of an error may quote what a client sent; where it came from never does.
            frames = traceback.format_tb(error.__traceback__, limit=-_FRAMES)
            _log.error("a fault", extra={"id": call.id, "error_type": type(error).__name__, "frames": frames})
            if call.status:
                raise _Broken from None  # part of the answer is out: the connection must end
            told = {"error": "the server failed", "hint": "its log has more under this id", "id": call.id}
            await JSONResponse(told, 500)(scope, receive, call.send)
        finally:
            call.log(client_id)

    def _refusal(self, scope: Scope, headers: Headers, client_id: str) -> JSONResponse | None:
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            # A page elsewhere would be let in by what the browser remembers of the docs page.
            told = {"error": "a page of another site can't call this service", "hint": "call it from a program"}
            return JSONResponse(told, 403)
        if not client_id and scope["path"].removeprefix(scope.get("root_path", "")) not in _OPEN:
            hint = "send id and secret in a Basic or Bearer header; the operator makes one by: fusion-nb keys new"
            told = {"error": "a client id and its secret are needed", "hint": hint}
            return JSONResponse(told, 401, {"WWW-Authenticate": 'Basic realm="Model Fusion", charset="UTF-8"'})
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._max_upload:
            return JSONResponse(as_json(_too_large(self._max_upload)), 413)
        return None


class _Broken(Exception):
    """The answer can't be finished."""


class _Call:
    """One call on its way through: its id, the bytes that it has sent, and the status of its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_upload: int) -> None:
        self.id = secrets.token_hex(4)
        self.status = 0
        self._scope, self._receive, self._send = scope, receive, send
        self._left = max_upload
        self._max_upload = max_upload
        self._started = time.perf_counter()

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            await self.drain()
            raise _too_large(self._max_upload)
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


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"a request may have {limit:,} bytes", "send less, or start the server with more --max-upload")
