"""Private keys that an aggregator holds or was sent, found by the public keys that they have."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from fusion_nb.algorithms.secure import steps
from fusion_nb.algorithms.secure.keys import KEY_BYTES, KeyPair


class PublicKeys:
    """All public keys that the aggregator of this process handed on, as bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.found: set[bytes] = set()
        digest_of = steps.digest_of

        def spied(peers: Mapping[str, Mapping[str, Any]]) -> bytes:
            for keys in peers.values():
                self.found |= {steps.as_bytes(key) for key in keys.values()}
            return digest_of(peers)

        monkeypatch.setattr(steps, "digest_of", spied)


def in_bodies(bodies: Iterable[bytes], public: Collection[bytes]) -> set[bytes]:
    """Private keys at any place of what was sent."""
    windows = {
        body[begin : begin + KEY_BYTES]
        for body in bodies
        for begin in range(len(body) - KEY_BYTES + 1)
    }
    return private_keys(windows, public)


def in_process() -> set[bytes]:
    """All values of a key's length that any object of this process refers to."""
    found: set[bytes] = set()
    for thing in gc.get_objects():
        found.update(map(bytes, _of_length(gc.get_referents(thing))))
    return found


def _of_length(things: Iterable[Any]) -> Iterator[Any]:
    for thing in things:
        # By its type: some objects warn where their class is looked up.
        if issubclass(type(thing), bytes | bytearray):
            if len(thing) == KEY_BYTES:
                yield thing
        elif issubclass(type(thing), np.ndarray):
            if thing.dtype.hasobject:
                yield from _of_length(thing.ravel().tolist())
            elif thing.nbytes == KEY_BYTES:
                yield thing.tobytes()


def private_keys(candidates: Iterable[bytes], public: Collection[bytes]) -> set[bytes]:
    """Those among some values that have one of the public keys."""
    return {value for value in candidates if KeyPair.of(value).public in public}
