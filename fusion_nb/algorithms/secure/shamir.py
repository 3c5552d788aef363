"""Shamir's secret sharing: any `threshold` shares give the secret, and fewer say nothing of it.

Source: Shamir, "How to Share a Secret", Communications of the ACM 1979, over the prime field of the
Mersenne number 2^521 - 1, which holds secrets of up to 65 bytes.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping

#: A prime (the 13th of Mersenne's).
PRIME = 2**521 - 1
#: Bytes of a share.
SHARE_BYTES = 66
#: Coefficients that are added before a division by the prime: one for each takes twice as long.
_BLOCK = 32


def split(secret: bytes, places: range, threshold: int) -> dict[int, bytes]:
    """Return a share of a secret for each place, which is a number above 0.

    The coefficients of the polynomial are drawn from the system's generator.

    >>> shares = split(b"key", range(1, 6), 3)
    >>> combine({place: shares[place] for place in (1, 4, 5)}, 3)
    b'key'
    """
    if not 1 <= threshold <= len(places) or places.start < 1 or len(secret) > 65:
        raise ValueError(f"{threshold} of {places} for {len(secret)} bytes")
    polynomial = [int.from_bytes(secret, "big")]
    polynomial += [secrets.randbelow(PRIME) for _ in range(threshold - 1)]
    return {place: _at(polynomial, place).to_bytes(SHARE_BYTES, "big") for place in places}


def combine(shares: Mapping[int, bytes], length: int) -> bytes:
    """Return the secret of so many bytes behind shares, given by their places.

    Raises ValueError for shares that belong to no secret of that length.
    """
    factors = _factors(tuple(shares))
    values = (int.from_bytes(share, "big") for share in shares.values())
    secret = sum(value * factor for value, factor in zip(values, factors, strict=True)) % PRIME
    if secret >> (8 * length):
        raise ValueError("the shares belong to no secret of that length")
    return secret.to_bytes(length, "big")


@functools.lru_cache(maxsize=64)
def _factors(places: tuple[int, ...]) -> tuple[int, ...]:
    """Return the factors of Lagrange's formula at 0: most secrets of a round have the same."""
    found = []
    for place in places:
        numerator = denominator = 1
        for other in places:
            if other != place:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - place) % PRIME
        found.append(numerator * pow(denominator, -1, PRIME) % PRIME)
    return tuple(found)


def _at(polynomial: list[int], place: int) -> int:
    value, downwards = 0, polynomial[::-1]
    for begin in range(0, len(downwards), _BLOCK):
        for coefficient in downwards[begin : begin + _BLOCK]:
            value = value * place + coefficient
        value %= PRIME
    return value
