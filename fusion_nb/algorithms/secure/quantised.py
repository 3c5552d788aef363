"""Changes of weights as whole numbers that can be added up modulo 2^32."""

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


def quantised(change: Weights, limits: Sequence[float], share: float, bits: int) -> np.ndarray:
    """Return share * change as one row of uint32: whole multiples of limit / (2^(bits - 1) - 1).

    Numbers beyond their limit are cut to it. Negative numbers are those of two's complement.

    >>> quantised({"w": np.array([1.0, -1.0])}, [1.0], 0.5, 9).tolist()
    [128, 4294967168]
    """
    most = 2 ** (bits - 1) - 1
    parts = [
        np.rint(np.clip(array.reshape(-1) / limit, -1, 1) * (share * most))
        if limit > 0
        else np.zeros(array.size)
        for array, limit in zip(change.values(), limits, strict=True)
    ]
    row = np.concatenate(parts) if parts else np.empty(0)
    return row.astype(np.int64).astype(np.uint32)


def moved_by_mean(
    weights: Weights, total: np.ndarray, limits: Mapping[str, float], shares: float, bits: int
) -> Weights:
    """Return weights that are moved by the mean of changes, given the sum of their numbers.

    limits: of the entries that were summed, by name;  shares: the sum of the parties' shares
    """
    signed, begin, found = total.astype(np.int32), 0, dict(weights)
    for name, limit in limits.items():
        old = weights[name]
        part = signed[begin : begin + old.size].reshape(old.shape)
        mean = part * (limit / (2 ** (bits - 1) - 1) / shares)
        begin += old.size
        moved = old.astype(np.float64) + mean
        if old.dtype.kind in "iu":
            moved = np.rint(moved)
        found[name] = (moved >= 0.5) if old.dtype.kind == "b" else moved.astype(old.dtype)
    return found
