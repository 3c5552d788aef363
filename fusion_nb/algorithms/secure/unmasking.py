"""The aggregator's last step: the sum of masked rows, and the masks that are taken off it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fusion_nb.algorithms.secure import shamir
from fusion_nb.algorithms.secure.keys import KEY_BYTES, Agreements, KeyPair, mask
from fusion_nb.algorithms.secure.steps import as_bytes, transcript_of
from fusion_nb.errors import PartyError


def sum_of(
    told: Mapping[str, Mapping[str, Any]],
    round: int,
    masked: Mapping[str, Mapping[str, Any]],
    lost: Sequence[str],
    revealed: Mapping[str, Mapping[str, Any]],
) -> np.ndarray:
    """Return the sum of the parties' rows, modulo 2^32.

    told: what each party was told about its peers, by party;  masked: the rows, by party
    lost: those that shared their secrets and sent no row;  revealed: the shares, by who sent them
    Raises PartyError for shares that don't fit; a few forged ones among enough others do no harm.
    """
    rows = [np.asarray(answer["masked"], np.uint32) for answer in masked.values()]
    total = np.zeros(len(rows[0]), np.uint32)
    for row in rows:
        total = total + row
    for party in masked:
        seeds = (_combined(shares, KEY_BYTES) for shares in _shares(party, "seeds", told, revealed))
        total = total - mask(_first(seeds, party), len(total))
    for gone in lost:
        public = as_bytes(told[gone]["peers"][gone]["mask_key"])
        keys = (_combined(shares, KEY_BYTES) for shares in _shares(gone, "keys", told, revealed))
        private = _first((key if _belongs(key, public) else None for key in keys), gone)
        agreements = Agreements(private, b"masks" + transcript_of(round, told[gone]))
        for party, keys_of in told[gone]["peers"].items():
            if party not in masked:
                continue
            other = mask(agreements.with_peer(as_bytes(keys_of["mask_key"])), len(total))
            # The party added it where it comes first of the two, and subtracted it otherwise.
            total = total - other if party < gone else total + other
    return total


def _shares(
    party: str,
    kind: str,
    told: Mapping[str, Mapping[str, Any]],
    revealed: Mapping[str, Mapping[str, Any]],
) -> Iterator[Mapping[int, bytes]]:
    """Yield choices of shares of one secret by their places, each as many as it needs.

    One after the other leaves others out, so that some choice has no forged share. The first one is
    the same for most secrets, and mostly the only one that is asked for.
    """
    found = [
        (place, revealed[peer][kind][party])
        for place, peer in enumerate(told[party]["peers"], 1)
        if peer in revealed and party in revealed[peer].get(kind, {})
    ]
    needed = int(told[party]["threshold"])
    if len(found) < needed:
        raise PartyError(
            f"secure aggregation: {len(found)} shares of a secret of {party} came, and {needed} "
            "are needed, so that the sum can't be read",
            "train the round again, or use a smaller threshold (over half)",
        )
    twice, choices = found + found, len(found) if len(found) > needed else 1
    for begin in range(choices):
        yield {place: as_bytes(share) for place, share in twice[begin : begin + needed]}


def _combined(shares: Mapping[int, bytes], length: int) -> bytes | None:
    try:
        return shamir.combine(shares, length)
    except ValueError:
        return None


def _belongs(private: bytes | None, public: bytes) -> bool:
    return private is not None and KeyPair.of(private).public == public


def _first(found: Any, party: str) -> bytes:
    """Return the first secret that fits. Raises PartyError without one."""
    for secret in found:
        if secret is not None:
            return bytes(secret)
    raise PartyError(
        f"secure aggregation: the shares of a secret of {party} don't fit, so that the sum can't "
        "be read",
        "train the round again",
    )
