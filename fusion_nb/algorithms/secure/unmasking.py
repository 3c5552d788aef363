"""The aggregator's last step: the sum of masked rows, and the masks that are taken off it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fusion_nb.algorithms.secure import shamir
from fusion_nb.algorithms.secure.keys import KEY_BYTES, KeyPair, agreed, mask
from fusion_nb.algorithms.secure.steps import as_bytes, transcript_of
from fusion_nb.errors import PartyError


def sum_of(
    told: Mapping[str, Any],
    round: int,
    masked: Mapping[str, Mapping[str, Any]],
    lost: Sequence[str],
    revealed: Mapping[str, Mapping[str, Any]],
) -> np.ndarray:
    """Return the sum of the parties' rows, modulo 2^32.

    told: what all parties were told;  masked: the rows, by party
    lost: those that shared their secrets and sent no row;  revealed: the shares, by who sent them
    Raises PartyError for shares that don't fit.
    """
    order = [*told["peers"]]
    rows = [np.asarray(answer["masked"], np.uint32) for answer in masked.values()]
    total = np.zeros(len(rows[0]), np.uint32)
    for row in rows:
        total = total + row
    threshold = int(told["threshold"])
    for party in masked:
        seed = _secret(party, "seeds", order, revealed, threshold)
        total = total - mask(seed, len(total))
    transcript = transcript_of(round, told)
    for gone in lost:
        private = _secret(gone, "keys", order, revealed, threshold)
        if KeyPair.of(private).public != as_bytes(told["peers"][gone]["mask_key"]):
            raise _wrong(gone)
        for party in masked:
            public = as_bytes(told["peers"][party]["mask_key"])
            other = mask(agreed(private, public, b"masks" + transcript), len(total))
            # The party added it where it comes first of the two, and subtracted it otherwise.
            total = total - other if order.index(party) < order.index(gone) else total + other
    return total


def _secret(
    party: str,
    kind: str,
    order: Sequence[str],
    revealed: Mapping[str, Mapping[str, Any]],
    threshold: int,
) -> bytes:
    """Return a secret of a party that the shares of others give."""
    shares = {
        order.index(sender) + 1: as_bytes(answer[kind][party])
        for sender, answer in list(revealed.items())[:threshold]
    }
    try:
        return shamir.combine(shares, KEY_BYTES)
    except ValueError:
        raise _wrong(party) from None


def _wrong(party: str) -> PartyError:
    return PartyError(
        f"secure aggregation: the shares of a secret of {party} don't fit, so that the sum can't "
        "be read",
        "train the round again",
    )
