"""Shamir's secret sharing: any `threshold` shares give the secret, and fewer say nothing of it.

Source: Shamir, "How to Share a Secret", Communications of the ACM 1979, over the prime field of the
Mersenne number 2^521 - 1, which holds secrets of up to 65 bytes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping

#: A prime (the 13th of Mersenne's).
PRIME = 2**521 - 1
#: Bytes of a share.
SHARE_BYTES = 66


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
    points = {place: int.from_bytes(share, "big") for place, share in shares.items()}
    secret = 0
    for place, value in points.items():
        numerator = denominator = 1
        for other in points:
            if other != place:
                numerator = numerator * other % PRIME
                denominator = denominator * (other - place) % PRIME
        secret = (secret + value * numerator * pow(denominator, -1, PRIME)) % PRIME
    if secret >> (8 * length):
        raise ValueError("the shares belong to no secret of that length")
    return secret.to_bytes(length, "big")


def _at(polynomial: list[int], place: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * place + coefficient) % PRIME
    return value
