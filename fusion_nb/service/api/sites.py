"""The check of the headers Host and Origin: which names the service has, and whose pages call it.

A browser sends the key that it remembers to whatever page asks. A page of another site must not
call the service with it, nor a page whose name was made to point at this machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from fusion_nb.service.network.addresses import canonical, is_loopback, is_wildcard, split_host

#: Stands for every name of the service: a proxy in front of it checks Host.
ANY = "*"
_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True)
class Sites:
    """The names that the service is called by, and the sites whose pages may call it.

    hosts:   names beside those of loopback and the address that a connection came to; `*` is any
    origins: sites beside the service's own, as `https://example.org`
    """

    hosts: frozenset[str] = field(default_factory=frozenset)
    origins: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, host: str, allowed_hosts: Iterable[str], allowed_origins: Iterable[str]) -> Sites:
        """Return the sites of a server that listens on a host."""
        names = [*allowed_hosts, *([] if is_wildcard(host) else [host])]
        hosts = frozenset(name if name == ANY else canonical(name) for name in names)
        return cls(hosts, frozenset(_normal(origin) for origin in allowed_origins))

    def refusal(self, headers: Headers, server: Sequence[object] | None) -> JSONResponse | None:
        """Return the answer to a call for another host or from another site, or None.

        server: the address that the connection came to
        """
        given = headers.getlist("host")
        host = split_host(given[0]) if len(given) == 1 else None
        if host is None or not self._is_own(host[0], server):
            body = {
                "error": "this service has another name than the Host of the call",
                "hint": "call it by its address; the operator adds a name by --allowed-host",
            }
            return JSONResponse(body, 421)
        origins = headers.getlist("origin")
        allowed = {_normal(origin) in self.origins for origin in origins}
        # An old browser sends no Sec-Fetch-Site, so that Origin is checked too.
        is_cross_site = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if all(self._is_same(origin, host) for origin in origins) and not is_cross_site:
            return None
        if allowed == {True}:
            return None
        body = {
            "error": "a page of another site can't call this service",
            "hint": "call it from a program; the operator adds a site by --allowed-origin",
        }
        return JSONResponse(body, 403)

    def _is_own(self, name: str, server: Sequence[object] | None) -> bool:
        if ANY in self.hosts or name in self.hosts or is_loopback(name):
            return True
        return server is not None and name == canonical(str(server[0]))

    def _is_same(self, origin: str, host: tuple[str, str]) -> bool:
        """Return whether an origin is the service itself, under the name of the call or another."""
        try:
            found = urlsplit(origin)
            name, port = canonical(found.hostname or ""), found.port
        except ValueError:
            return False
        is_plain = _normal(origin) == origin.lower() and "@" not in origin
        if found.scheme not in _PORTS or not name or not is_plain:
            return False
        own_port = host[1] or _PORTS[found.scheme]
        is_known = name == host[0] or (is_loopback(name) and is_loopback(host[0]))
        return is_known and str(port or _PORTS[found.scheme]) == own_port


def _normal(origin: str) -> str:
    """Return an origin without what an origin does not have, such as a path or a final slash."""
    try:
        found = urlsplit(origin.strip().lower())
    except ValueError:
        return ""
    return f"{found.scheme}://{found.netloc}"
