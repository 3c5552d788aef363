"""Codes of whole numbers: numbers of a fixed width, and Golomb's code of sorted positions."""

from __future__ import annotations

import math

import numpy as np

#: The inverse of the golden ratio.
_INVERSE_GOLDEN = (math.sqrt(5) - 1) / 2


def packed(bits: np.ndarray) -> bytes:
    """Return bits as bytes; the last byte is filled up with zeros."""
    return np.packbits(bits).tobytes()


def unpacked(message: bytes) -> np.ndarray:
    """Return the bits of a message, those at its end included that fill up the last byte."""
    return np.unpackbits(np.frombuffer(message, np.uint8))


def fixed_width(numbers: np.ndarray, width: int) -> np.ndarray:
    """Return the bits of whole numbers, `width` each, the highest first.

    >>> fixed_width(np.array([1, 2]), 2).tolist()
    [0, 1, 1, 0]
    """
    places = np.arange(width - 1, -1, -1)
    return ((numbers[:, None] >> places) & 1).astype(np.uint8).reshape(-1)


def from_fixed_width(bits: np.ndarray, width: int, count: int) -> np.ndarray:
    """Return the first `count` whole numbers of `width` bits each."""
    powers = 1 << np.arange(width - 1, -1, -1)
    return np.asarray(bits[: width * count].reshape(count, width).astype(np.int64) @ powers)


def golomb_width(share: float) -> int:
    """Return the number of lower bits of Golomb's code for gaps between positions.

    share: of the positions that are taken, as if each was taken by itself
    Source: Sattler, Wiedemann, Mueller, Samek, "Robust and Communication-Efficient Federated
    Learning from Non-IID Data", TNNLS 2019 (equation 14).

    >>> golomb_width(0.01)
    6
    """
    if share >= 1:
        return 0
    return max(0, 1 + math.floor(math.log2(math.log(_INVERSE_GOLDEN) / math.log1p(-share))))


def encode_positions(positions: np.ndarray, width: int) -> np.ndarray:
    """Return the bits of sorted positions: the unary parts of all gaps, then their lower bits.

    >>> encode_positions(np.array([0, 5]), 1).tolist()  # gaps 0 and 4
    [0, 1, 1, 0, 0, 0]
    """
    gaps = np.diff(positions, prepend=-1) - 1
    ends = np.cumsum((gaps >> width) + 1) - 1
    unary = np.ones(ends[-1] + 1 if len(ends) else 0, np.uint8)
    unary[ends] = 0
    return np.concatenate([unary, fixed_width(gaps & ((1 << width) - 1), width)])


def decode_positions(bits: np.ndarray, width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` positions, and the bits that come after them."""
    if not count:
        return np.empty(0, np.int64), bits
    ends = np.flatnonzero(bits == 0)[:count]
    begin = int(ends[-1]) + 1
    lower = from_fixed_width(bits[begin:], width, count) if width else 0
    gaps = ((np.diff(ends, prepend=-1) - 1) << width) + lower
    return np.cumsum(gaps + 1) - 1, bits[begin + width * count :]
