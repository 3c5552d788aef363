"""The search for private keys finds one wherever it is, or it would prove nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography")
from leaked_keys import in_bodies, in_process, private_keys

from fusion_nb.algorithms.secure.keys import KeyPair
from fusion_nb.algorithms.secure.steps import as_array


@pytest.mark.parametrize(
    "hide",
    [
        lambda key: [key],
        lambda key: {"a": {"b": as_array(key)}},
        lambda key: SimpleNamespace(kept=(bytearray(key),)),
        lambda key: lambda: key,
        lambda key: np.array([as_array(key), None], object),
    ],
)
def test_a_key_in_any_object_is_found(hide: Any) -> None:
    pair, other = KeyPair.new(), KeyPair.new()
    hidden = hide(pair.private)
    assert private_keys(in_process(), {pair.public}) == {pair.private}
    assert hidden is not None
    assert not private_keys([other.private, bytes(32)], {pair.public})


@pytest.mark.parametrize("place", [0, 1, 33])
def test_a_key_at_any_place_of_a_message_is_found(place: int) -> None:
    pair = KeyPair.new()
    body = bytes(place) + pair.private + b"end"
    assert in_bodies([b"short", body], {pair.public}) == {pair.private}
    assert not in_bodies([body[:-4]], {pair.public})
