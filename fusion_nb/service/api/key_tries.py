"""A limit on how often one address may try keys that are not valid."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable

#: Wrong keys that an address may try at once, and seconds after which it may try one more.
_BURST = 30
_SECONDS_PER_TRY = 2.0
#: Addresses, and valid keys with their address, that are remembered.
_MAX_REMEMBERED = 1024


class KeyTries:
    """The wrong keys that each address has tried lately.

    A key that was valid from an address goes on to be checked from there while others are refused,
    so that a guesser behind the same proxy does not keep a client out. Memory is bounded: the
    address that is longest without a try is forgotten first.
    clock: returns seconds
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: Address -> when it would have all of its tries again.
        self._until: OrderedDict[str, float] = OrderedDict()
        self._valid: OrderedDict[bytes, None] = OrderedDict()

    def seconds_left(self, address: str, authorization: str) -> int:
        """Return in how many seconds an address may try this key, or 0 for now."""
        if _digest(address, authorization) in self._valid:
            return 0
        owed = self._until.get(address, 0.0) - self._clock()
        return max(0, math.ceil(owed - (_BURST - 1) * _SECONDS_PER_TRY))

    def refused(self, address: str, authorization: str) -> None:
        """Count a key that is not valid."""
        self._valid.pop(_digest(address, authorization), None)
        start = max(self._clock(), self._until.pop(address, 0.0))
        self._until[address] = start + _SECONDS_PER_TRY
        _forget_oldest(self._until)

    def accepted(self, address: str, authorization: str) -> None:
        """Remember a valid key of an address, as a hash."""
        digest = _digest(address, authorization)
        self._valid[digest] = None
        self._valid.move_to_end(digest)
        _forget_oldest(self._valid)

    def __len__(self) -> int:
        return len(self._until) + len(self._valid)


def _digest(address: str, authorization: str) -> bytes:
    return hashlib.sha256(f"{address}\n{authorization}".encode("utf-8", "replace")).digest()


def _forget_oldest(remembered: OrderedDict[str, float] | OrderedDict[bytes, None]) -> None:
    while len(remembered) > _MAX_REMEMBERED:
        remembered.popitem(last=False)
