"""HTTP calls to a service: address, credentials, and errors."""

from __future__ import annotations

import netrc
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fusion_nb.errors import OptionError, ServiceError, missing_extra
from fusion_nb.service.credentials import KEY_VARIABLE
from fusion_nb.service.unreached import no_service, unreached

if TYPE_CHECKING:
    import httpx

#: Seconds to wait for a connection, and for an answer other than that of a training.
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 300


class Transport:
    """Calls one service.

    url: the service's address, with or without credentials in it;  client_id, client_secret: the
    credentials if the address has none; else they are looked up in `~/.netrc`, and then in the
    environment variable FUSION_NB_SERVICE_KEY, as ID:SECRET;  verify: see `Client`
    """

    def __init__(
        self, url: str, client_id: str, client_secret: str, verify: str | bool = True
    ) -> None:
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise missing_extra(error, "a client of the service") from error
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL:
            address = httpx.URL("")
        if address.scheme not in ("http", "https") or not address.host:
            raise ServiceError(
                f"{_without_secret(url)!r} is no address of a service",
                "write it as http://127.0.0.1:8765",
            )
        #: The address without credentials.
        self.url = str(address.copy_with(userinfo=b"")).rstrip("/")
        given = (client_id, client_secret) if client_id else (address.username, address.password)
        self._http = httpx.Client(
            base_url=self.url,
            auth=given if given[0] else _from_netrc(address.host) or _from_environment(),
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            verify=_ssl_context(verify),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(
        self, method: str, path: str, *, is_patient: bool = False, **request: Any
    ) -> httpx.Response:
        """Return the answer to a call. Raises ServiceError for a refusal, or for no answer.

        is_patient: wait for the answer as long as it takes
        """
        import httpx

        if is_patient:
            request["timeout"] = httpx.Timeout(None, connect=_CONNECT_SECONDS)
        with self._reached():
            answer = self._http.request(method, path, **request)
        if answer.is_error:
            raise _refusal(answer)
        if answer.is_redirect:
            raise no_service(answer)
        return answer

    def fetch(
        self, path: str, *, most: int, seconds: float, **request: Any
    ) -> tuple[Mapping[str, str], bytes]:
        """Return the headers and the content of an answer. Raises ServiceError as `call` does.

        most: bytes after which the rest is not read;  seconds: in which each part must come
        """
        import httpx

        timeout = httpx.Timeout(seconds, connect=_CONNECT_SECONDS)
        with (
            self._reached(),
            self._http.stream("GET", path, timeout=timeout, **request) as answer,
        ):
            if answer.is_error:
                answer.read()
                raise _refusal(answer)
            content = bytearray()
            for part in answer.iter_bytes():
                content += part[: most + 1 - len(content)]
                if len(content) > most:
                    break
            return answer.headers, bytes(content)

    def lines(self, path: str, **params: Any) -> Iterator[str]:
        """Yield the lines of an answer as they arrive. Raises ServiceError as `call` does."""
        import httpx

        timeout = httpx.Timeout(None, connect=_CONNECT_SECONDS)
        with (
            self._reached(),
            self._http.stream("GET", path, params=params, timeout=timeout) as answer,
        ):
            if answer.is_error:
                answer.read()
                raise _refusal(answer)
            yield from answer.iter_lines()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn errors of the connection into ServiceError."""
        import httpx

        try:
            yield
        except httpx.HTTPError as error:
            raise unreached(self.url, error) from None


def _refusal(answer: httpx.Response) -> ServiceError:
    """Return the error of an answer, with its parts."""
    try:
        found = answer.json()
        return ServiceError(
            str(found["error"]),
            str(found.get("hint", "")),
            status=answer.status_code,
            field=found.get("field") or "",
            option=found.get("option") or "",
            value=found.get("value"),
            allowed=found.get("allowed") or (),
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return no_service(answer)


def _from_netrc(host: str) -> tuple[str, str] | None:
    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):  # no file, or one that others can read
        return None
    return (found[0], found[2] or "") if found else None


def _from_environment() -> tuple[str, str] | None:
    client_id, _, client_secret = os.environ.get(KEY_VARIABLE, "").partition(":")
    return (client_id, client_secret) if client_secret else None


def _ssl_context(verify: str | bool) -> ssl.SSLContext | bool:
    if not isinstance(verify, str):
        return verify
    try:
        return ssl.create_default_context(cafile=verify)
    except OSError as error:
        line = f"verify={verify!r} can't be read ({error.strerror or error})"
        raise OptionError(line, "give a certificate authority's file, as PEM") from None


def _without_secret(url: str) -> str:
    """Return an address without its credentials."""
    return f"...@{url.rpartition('@')[2]}" if "@" in url else url
