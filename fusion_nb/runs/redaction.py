"""Secrets in addresses, which no cell, file or card that repeats a run may hold."""

from __future__ import annotations

import re
from typing import Any

#: The user and the password in an address. One with braces is a template, and names variables.
_CREDENTIALS = re.compile(r"(?<=://)[^\s/:@'\"{}<>]*:[^\s/'\"{}<>]+@")


def without_secrets(text: str) -> str:
    """Return a text whose addresses have no user and no password.

    A client of a service finds its key in `~/.netrc` or in the environment then.

    >>> without_secrets("Client('http://me:secret@host:8765')")
    "Client('http://host:8765')"
    """
    return _CREDENTIALS.sub("", text)


def values_without_secrets(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with the same done to every text among them."""
    return {
        name: without_secrets(value) if isinstance(value, str) else value
        for name, value in options.items()
    }
