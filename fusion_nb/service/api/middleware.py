"""Access control for all calls: sites, keys, sizes of requests, and a log record for each call."""

from __future__ import annotations

import logging
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fusion_nb.errors import FusionError
from fusion_nb.service.api.key_tries import KeyTries
from fusion_nb.service.api.sites import Sites
from fusion_nb.service.error_log import log_failure
from fusion_nb.service.errors import TooLargeError, status_of, storage_error, to_json
from fusion_nb.service.network.addresses import owner
from fusion_nb.service.network.headers import MAX_HEAD, SECURITY_HEADERS, head_too_long
from fusion_nb.service.storage.keys import Keys, read_authorization

_log = logging.getLogger(__name__)
#: Paths that need no key.
_PUBLIC = {"/health"}
#: Bytes that are read of a refused body, so that its sender reads the answer.
_MAX_DRAINED = 64 << 20
#: Calls with a body that is neither a form nor small.
_REPLIES = "/messages/"
#: Bytes of any other body that is no form.
_MAX_JSON = 64 << 10
#: Status in the log of a call whose client disconnected before the answer.
_DISCONNECTED = 499
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class AccessControl:
    """Passes calls with a valid key on, up to a size, and logs each call.

    The log has no secret, no aggregator's id and no data.
    keys: the valid keys;  sites: who may call;  max_upload: bytes of one request
    """

    def __init__(self, app: ASGIApp, keys: Keys, sites: Sites, max_upload: int) -> None:
        self._app = app
        self._keys = keys
        self._sites = sites
        self._max_upload = max_upload
        self._tries = KeyTries()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_large = headers.get("content-type", "").lower().startswith(_FORMS) or _is_reply(scope)
        limit = self._max_upload if is_large else min(_MAX_JSON, self._max_upload)
        call = _Call(scope, receive, send, limit)
        client_id = ""
        try:
            refusal = _head_refusal(scope) or self._sites.refusal(headers, scope.get("server"))
            if refusal is None:
                client_id, refusal = self._authenticate(scope, headers)
            scope.setdefault("state", {})["client_id"] = client_id
            refusal = refusal or _size_refusal(headers, limit)
            if refusal is None:
                await self._app(scope, call.receive, call.send)
            else:
                # A client that expects "100 Continue" has not sent its body.
                if refusal.status_code == 413 and "expect" not in headers:
                    await call.drain()
                await refusal(scope, receive, call.send)
        except ClientDisconnect:
            call.status = _DISCONNECTED
        except Exception as error:
            log_failure(_log, "a failure", error, id=call.id)
            if call.status:
                raise _Unfinished from None
            await _failure(error, call.id)(scope, receive, call.send)
        finally:
            call.log(client_id)

    def _authenticate(self, scope: Scope, headers: Headers) -> tuple[str, JSONResponse | None]:
        """Return the client whose key the call has, and the answer to a call that needs a key and
        has none.
        """
        authorization = headers.get("authorization", "")
        path = _path(scope)
        address = owner(scope["client"][0]) if scope.get("client") else ""
        seconds = self._tries.seconds_left(address, authorization) if authorization else 0
        if seconds:
            return "", None if path in _PUBLIC else _too_many_tries(seconds)
        client_id = self._keys.authenticate(authorization) if authorization else ""
        if client_id:
            self._tries.accepted(address, authorization)
        elif all(read_authorization(authorization)):
            self._tries.refused(address, authorization)
        if client_id or path in _PUBLIC:
            return client_id, None
        return "", _unauthorized(bool(authorization))


def _path(scope: Scope) -> str:
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _is_reply(scope: Scope) -> bool:
    """Return whether a call is the reply of a party, which may hold the weights of a model."""
    return scope["method"] == "POST" and _path(scope).startswith(_REPLIES)


class _Unfinished(Exception):
    """An answer broke off after its beginning was sent, so that the connection must be closed."""


class _Call:
    """One call: its id, the size of its body so far, and the status of its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self.id = secrets.token_hex(4)
        self.status = 0
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limit = limit
        self._size = 0
        self._start = time.perf_counter()

    async def receive(self) -> Message:
        """Return the next part of the body. Raises TooLargeError beyond the limit."""
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            await self.drain()
            # The application may turn this into any answer: `send` replaces it.
            raise TooLargeError("too large")
        return message

    async def drain(self) -> None:
        """Read and drop the rest of the body, up to a limit."""
        left = _MAX_DRAINED
        while left > 0:
            message = await self._receive()
            left -= len(message.get("body", b""))
            if not message.get("more_body", False):
                return

    async def send(self, message: Message) -> None:
        """Send a part of the answer, or the refusal of a body that is too large in its place."""
        if self._size > self._limit:
            if not self.status:
                self.status = 413
                await _too_large(self._limit)(self._scope, self._receive, self._send)
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    def log(self, client_id: str) -> None:
        """Log the call with the pattern of its path, its client and its status."""
        route = self._scope.get("route")
        fields = {
            "id": self.id,
            "client": client_id,
            "method": self._scope["method"],
            "route": route.path if route is not None else "",
            "status": self.status,
            "ms": round(1000 * (time.perf_counter() - self._start), 1),
        }
        _log.info("call", extra=fields)


def _head_refusal(scope: Scope) -> JSONResponse | None:
    """Return the answer to a request whose head is too long, or None.

    h11 bounds only a head that arrives in parts.
    """
    size = len(scope.get("raw_path", b"")) + len(scope.get("query_string", b""))
    size += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    return JSONResponse(head_too_long(), 431) if size > MAX_HEAD else None


def _size_refusal(headers: Headers, limit: int) -> JSONResponse | None:
    """Return the answer to a request whose body is too large by its own account, or None."""
    length = headers.get("content-length", "")
    return _too_large(limit) if length.isdigit() and int(length) > limit else None


def _failure(error: Exception, id: str) -> JSONResponse:
    """Return the answer to a call in which the server failed."""
    known = error if isinstance(error, FusionError) else storage_error(error)
    if known is not None:
        return JSONResponse({**to_json(known), "id": id}, status_of(known))
    body = {"error": "the server failed", "hint": "its log has more under this id", "id": id}
    return JSONResponse(body, 500)


def _too_many_tries(seconds: int) -> JSONResponse:
    body = {
        "error": "this address has tried too many keys that are not valid",
        "hint": f"try again in {seconds} seconds, with the right key",
    }
    return JSONResponse(body, 429, {"Retry-After": str(seconds)})


def _unauthorized(has_key: bool) -> JSONResponse:
    place = "http://ID:SECRET@..."
    if has_key:
        error = "this client id and secret are not known here"
        hint = f"are they of this server? They are written as {place}."
    else:
        error = "a client id and its secret are needed"
        hint = f"write both into the address, as {place}, or send a Basic or Bearer header."
    body = {"error": error, "hint": f"{hint} The operator makes a key by: fusion-nb keys new"}
    return JSONResponse(
        body, 401, {"WWW-Authenticate": 'Basic realm="Model Fusion", charset="UTF-8"'}
    )


def _too_large(limit: int) -> JSONResponse:
    hint = "send less, or start the server with more --max-upload"
    if limit == _MAX_JSON:
        hint = "send only the id"
    return JSONResponse(to_json(TooLargeError(f"a request may have {limit:,} bytes", hint)), 413)
