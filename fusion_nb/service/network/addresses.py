"""Addresses of clients and names of hosts, as limits and checks compare them."""

from __future__ import annotations

import ipaddress
import re

#: A Host header: a name, an IPv4 address or an IPv6 address in brackets, and perhaps a port.
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?")
#: Bits of an IPv6 address that one owner has: a household or a machine gets a whole /64.
_IPV6_OWNER_BITS = 64


def owner(host: str) -> str:
    """Return the part of a client's address that limits are counted by.

    >>> owner("10.0.0.7"), owner("::ffff:10.0.0.7"), owner("2001:db8::1234")
    ('10.0.0.7', '10.0.0.7', '2001:db8::/64')
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_OWNER_BITS), strict=False))


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, and can't be reached from others."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Return whether a host stands for all addresses of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return not host


def split_host(text: str) -> tuple[str, str] | None:
    """Return the host and the port of a Host header, or None if it is none; the port may be "".

    >>> split_host("LOCALHOST.:8765"), split_host("[::1]"), split_host("a@b")
    (('localhost', '8765'), ('::1', ''), None)
    """
    found = _HOST.fullmatch(text.strip().lower())
    if found is None:
        return None
    return canonical(found[1] or found[2]), found[3] or ""


def canonical(host: str) -> str:
    """Return a host in the one form in which hosts are compared."""
    name = host.strip().lower().removeprefix("[").removesuffix("]").rstrip(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name
