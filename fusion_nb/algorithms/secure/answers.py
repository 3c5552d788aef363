"""Answers of parties that have the form of their step; others count as those of drop-outs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from fusion_nb.algorithms.secure.keys import KEY_BYTES
from fusion_nb.algorithms.secure.shamir import SHARE_BYTES

Answers = Mapping[str, Mapping[str, Any]]


def with_keys(told: Mapping[str, Any], num_entries: int) -> bool:
    """Return whether a party told two public keys, and a largest size of each entry or none."""
    sizes = told.get("largest")
    are_sizes = sizes is None or (_is(sizes, "f", num_entries) and bool((sizes >= 0).all()))
    keys = (told.get("cipher_key"), told.get("mask_key"))
    return are_sizes and all(_is(key, "u", KEY_BYTES) for key in keys) and _has_seconds(told)


def with_shares(found: Answers, peers: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Return the answers that hold a sealed message for each peer."""
    return {
        party: answer
        for party, answer in found.items()
        if _has_arrays(answer.get("sealed"), peers[party]) and _has_seconds(answer)
    }


def with_rows(found: Answers, count: int) -> dict[str, Any]:
    """Return the answers that hold a row of `count` masked numbers."""
    return {
        party: answer
        for party, answer in found.items()
        if _is(answer.get("masked"), "u", count)
        and answer["masked"].dtype == np.uint32
        and _has_seconds(answer)
    }


def revealing(found: Answers, peers: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Return the answers that hold shares of peers."""
    return {
        party: answer
        for party, answer in found.items()
        if all(_holds_shares(answer.get(kind), peers[party]) for kind in ("seeds", "keys"))
        and _has_seconds(answer)
    }


def _holds_shares(found: Any, peers: Collection[str]) -> bool:
    return isinstance(found, Mapping) and all(
        peer in peers and _is(share, "u", SHARE_BYTES) for peer, share in found.items()
    )


def _has_arrays(found: Any, peers: Collection[str]) -> bool:
    return isinstance(found, Mapping) and all(_is(found.get(peer), "u") for peer in peers)


def _has_seconds(found: Mapping[str, Any]) -> bool:
    seconds = found.get("seconds")
    return isinstance(seconds, int | float) and 0 <= seconds < np.inf


def _is(found: Any, kind: str, size: int | None = None) -> bool:
    return (
        isinstance(found, np.ndarray)
        and found.ndim == 1
        and found.dtype.kind == kind
        and size in (None, found.size)
    )
