"""Who may call the service: client ids and secrets, of which only hashes are kept."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from fusion_nb.errors import OptionError, nearest
from fusion_nb.service.storage import atomic


@dataclass(frozen=True)
class Key:
    """A client's id and secret. The secret is shown when it is made, and can't be had again."""

    client_id: str
    client_secret: str


class Keys:
    """The keys of one service, in a file that only its owner can read.

    other: a key that holds for this process alone, and is not kept

    Secrets are 256 random bits, so a plain SHA-256 of one can't be guessed back; slow hashes are
    for passwords.
    """

    def __init__(self, state: Path, other: Key | None = None) -> None:
        self._other = {other.client_id: {"sha256": _hash(other.client_secret)}} if other else {}
        self._path = state / "keys.json"
        self._lock = FileLock(str(state / "keys.lock"))
        self._read: tuple[Any, dict[str, Any]] = (None, {})

    def new(self) -> Key:
        """Make a key, and keep its hash."""
        key = Key(secrets.token_hex(8), secrets.token_urlsafe(32))
        self._change(key.client_id, {"created": time.time(), "sha256": _hash(key.client_secret)})
        return key

    def rotate(self, client_id: str) -> Key:
        """Give a client a new secret; its old one is refused from now on. Raises OptionError for an
        unknown id.
        """
        key = Key(self._known(client_id), secrets.token_urlsafe(32))
        self._change(client_id, {"created": time.time(), "sha256": _hash(key.client_secret)})
        return key

    def revoke(self, client_id: str) -> None:
        """Refuse a client from now on. Raises OptionError for an unknown id."""
        self._change(self._known(client_id), None)

    def table(self) -> dict[str, float]:
        """Return the client ids, and when the secret of each was made, in seconds since 1970."""
        return {client_id: kept["created"] for client_id, kept in self._kept().items()}

    def admits(self, client_id: str, client_secret: str) -> bool:
        """Return whether this is a key, in the same time for every wrong one."""
        kept = (self._kept() | self._other).get(client_id, {}).get("sha256", _hash(""))
        return hmac.compare_digest(kept, _hash(client_secret)) and bool(client_secret)

    def who(self, authorization: str) -> str:
        """Return the client id in an Authorization header, `Basic ...` or `Bearer ID:SECRET`, or ""
        for a wrong one.
        """
        scheme, _, given = authorization.strip().partition(" ")
        given = given.strip()
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError, ValueError):
                return ""
        elif scheme.lower() != "bearer":
            return ""
        client_id, _, client_secret = given.partition(":")
        return client_id if self.admits(client_id, client_secret) else ""

    def _kept(self) -> dict[str, Any]:
        """Return what the file holds, read anew where it was changed, so that a revoked key is
        refused at once.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return {}
        stamp = (found.st_mtime_ns, found.st_ino)
        if self._read[0] != stamp:
            self._read = stamp, atomic.read_json(self._path)
        return self._read[1]

    def _known(self, client_id: str) -> str:
        known = self._kept()
        if client_id not in known:
            there = (
                f"there are: {', '.join(known)}"
                if known
                else "there is none: fusion-nb keys new makes one"
            )
            raise OptionError(
                f"no client has the id {client_id!r}", f"{nearest(client_id, known)}{there}"
            )
        return client_id

    def _change(self, client_id: str, kept: dict[str, Any] | None) -> None:
        with self._lock:
            others = {
                name: value
                for name, value in atomic.read_json(self._path).items()
                if name != client_id
            }
            atomic.write_json(self._path, others | ({client_id: kept} if kept else {}))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
