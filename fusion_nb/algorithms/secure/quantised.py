"""Numbers of parties as whole numbers that can be added up modulo 2^32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fusion_nb.core.types import Weights


def change_of(new: Weights, old: Weights) -> Weights:
    """Return what a party added to every entry, in float64."""
    return {name: new[name].astype(np.float64) - old[name].astype(np.float64) for name in new}


def largest(change: Weights) -> np.ndarray:
    """Return the largest size in each entry, which is a limit of what it sends."""
    return np.array([float(np.abs(array).max(initial=0.0)) for array in change.values()])


def quantised(
    change: Weights, limits: Sequence[float], share: float, bits: int, *, inwards: bool = False
) -> np.ndarray:
    """Return share * change as one row of uint32: whole multiples of limit / (2^(bits - 1) - 1).

    Numbers beyond their limit are cut to it. Negative numbers are those of two's complement.
    inwards: round towards 0, so that a norm does not grow

    >>> quantised({"w": np.array([1.0, -1.0])}, [1.0], 0.5, 9).tolist()
    [128, 4294967168]
    """
    most, rounded = 2 ** (bits - 1) - 1, np.trunc if inwards else np.rint
    parts = [
        rounded(np.clip(array.reshape(-1) / limit, -1, 1) * (share * most))
        if limit > 0
        else np.zeros(array.size)
        for array, limit in zip(change.values(), limits, strict=True)
    ]
    row = np.concatenate(parts) if parts else np.empty(0)
    return row.astype(np.int64).astype(np.uint32)


def means(
    total: np.ndarray,
    shapes: Mapping[str, Sequence[int]],
    limits: Sequence[float],
    shares: float,
    bits: int,
) -> Weights:
    """Return the means of the parties' numbers by entry, in float64, given the sum of their rows.

    shapes, limits: of the entries, in order;  shares: the sum of the parties' shares
    """
    signed, begin, found = total.astype(np.int32), 0, {}
    for (name, shape), limit in zip(shapes.items(), limits, strict=True):
        size = int(np.prod(shape, dtype=np.int64))
        part = signed[begin : begin + size].reshape(tuple(map(int, shape)))
        found[name] = part * (limit / (2 ** (bits - 1) - 1) / shares)
        begin += size
    return found


def moved(weights: Weights, change: Weights) -> Weights:
    """Return weights that are moved by the mean of changes, in their own dtypes."""
    found = dict(weights)
    for name, mean in change.items():
        old = weights[name]
        new = old.astype(np.float64) + mean
        if old.dtype.kind in "iu":
            new = np.rint(new)
        found[name] = (new >= 0.5) if old.dtype.kind == "b" else new.astype(old.dtype)
    return found
