"""Keys of the clients that may call the service; only hashes of their secrets are stored."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

from fusion_nb.core.files import storage
from fusion_nb.errors import OptionError, nearest
from fusion_nb.service.credentials import Key
from fusion_nb.service.errors import KeysError

#: A later time, in seconds since 1970, is none that a calendar has.
_LAST = 1e11


class Keys:
    """The keys of one service, in a file that only its owner can read.

    A secret has 256 random bits, so that a plain SHA-256 can't be inverted; slow hashes are meant
    for passwords.
    state: folder of the file;  extra: one more key, valid in this process only and not stored
    """

    def __init__(self, state: Path, extra: Key | None = None) -> None:
        self._extra = {extra.client_id: {"sha256": _hash(extra.client_secret)}} if extra else {}
        self._path = state / "keys.json"
        self._lock = FileLock(str(state / "keys.lock"))
        self._cache: tuple[Any, dict[str, Any]] = (None, {})

    def new(self) -> Key:
        """Make a key and store its hash."""
        return self._store(Key.generate())

    def rotate(self, client_id: str) -> Key:
        """Replace a client's secret; the old one is refused from now on.

        Raises OptionError for an unknown id.
        """
        return self._store(Key.generate(self._check_known(client_id)))

    def revoke(self, client_id: str) -> None:
        """Remove a client's key. Raises OptionError for an unknown id."""
        self._update(self._check_known(client_id), None)

    def table(self) -> dict[str, float]:
        """Return each client id with the time of its secret, in seconds since 1970."""
        return {client_id: entry["created"] for client_id, entry in self._stored().items()}

    def admits(self, client_id: str, client_secret: str) -> bool:
        """Return whether the key is valid, in constant time."""
        entry = (self._stored() | self._extra).get(client_id, {})
        return hmac.compare_digest(entry.get("sha256", _hash("")), _hash(client_secret)) and bool(
            client_secret
        )

    def authenticate(self, authorization: str) -> str:
        """Return the client id of an Authorization header, or "" if the key is not valid.

        authorization: `Basic BASE64` or `Bearer ID:SECRET`
        """
        client_id, client_secret = read_authorization(authorization)
        return client_id if self.admits(client_id, client_secret) else ""

    def _stored(self) -> dict[str, Any]:
        """Return the file's entries.

        The file is read again whenever it has changed, so that a revoked key is refused at once.
        Raises KeysError for a file that can't be read: nobody is admitted by older keys.
        """
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_ino)
            if self._cache[0] != stamp:
                self._cache = (stamp, self._read())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unreadable(error.strerror or type(error).__name__) from None
        return self._cache[1]

    def _read(self) -> dict[str, Any]:
        """Return the entries in the file, each of which is checked."""
        try:
            entries = storage.read_json(self._path)
        except (ValueError, TypeError, RecursionError):
            raise self._unreadable("it is damaged") from None
        for entry in entries.values():
            is_whole = isinstance(entry, dict) and isinstance(entry.get("sha256"), str)
            is_whole = is_whole and entry["sha256"].isascii()
            created = entry.get("created") if is_whole else None
            if not isinstance(created, int | float) or not 0 <= created < _LAST:
                raise self._unreadable("an entry is damaged")
        return entries

    def _unreadable(self, reason: str) -> KeysError:
        return KeysError(
            f"{self._path.name} can't be read: {reason}",
            "restore it from a copy, or remove it and make new keys: fusion-nb keys new",
        )

    def _check_known(self, client_id: str) -> str:
        known = list(self._stored())
        if client_id in known:
            return client_id
        there = f"there are: {', '.join(known)}" if known else "make one: fusion-nb keys new"
        raise OptionError(
            f"no client has the id {client_id!r}",
            f"{nearest(client_id, known)}{there}",
            allowed=known,
        )

    def _store(self, key: Key) -> Key:
        entry = {"created": time.time(), "sha256": _hash(key.client_secret)}
        self._update(key.client_id, entry)
        return key

    def _update(self, client_id: str, entry: dict[str, Any] | None) -> None:
        """Replace a client's entry, or remove it for None."""
        try:
            with self._lock:
                entries = dict(self._stored())
                entries.pop(client_id, None)
                if entry is not None:
                    entries[client_id] = entry
                storage.write_json(self._path, entries)
        except OSError as error:
            raise OptionError(
                f"{self._path.name} can't be written ({error.strerror or type(error).__name__})",
                "make room on the disk, or give a --state that can be written",
            ) from None


def read_authorization(authorization: str) -> tuple[str, str]:
    """Return the client id and the secret in an Authorization header; "" for what it lacks.

    authorization: `Basic BASE64` or `Bearer ID:SECRET`
    """
    scheme, _, given = authorization.strip().partition(" ")
    given = given.strip()
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return "", ""
    elif scheme.lower() != "bearer":
        return "", ""
    client_id, _, client_secret = given.partition(":")
    return client_id, client_secret


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
