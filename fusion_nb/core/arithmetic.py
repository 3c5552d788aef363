"""Arithmetic on named arrays: the mean of updates, and the measures that fusions share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from fusion_nb.core.running_mean import RunningMean as RunningMean
from fusion_nb.core.types import PartyMetrics, Update, Weights
from fusion_nb.errors import ModelError

#: The types that a named array may have.
_ARRAYS = (np.ndarray, np.generic)


def tree_map(function: Callable[..., np.ndarray], first: Weights, *rest: Weights) -> Weights:
    """Return `function` applied to the entries of one or more weights, name by name."""
    return {
        name: function(array, *(other[name] for other in rest)) for name, array in first.items()
    }


def zeros_like(weights: Weights) -> Weights:
    """Return weights of the same names, shapes and dtypes, all zero."""
    return tree_map(np.zeros_like, weights)


def copy(weights: Weights) -> Weights:
    """Return weights that share no memory with the given ones."""
    return tree_map(np.copy, weights)


def num_bytes(entries: Mapping[str, Any]) -> int:
    """Return the size of all entries in bytes: arrays, plain numbers, and mappings of these."""
    total = 0
    for entry in entries.values():
        if isinstance(entry, _ARRAYS):
            total += entry.nbytes
        else:
            is_nested = isinstance(entry, Mapping)
            total += num_bytes(entry) if is_nested else getattr(entry, "nbytes", 8)
    return total


def not_finite(extras: Mapping[str, Any]) -> str:
    """Return the first entry that holds a number that is not finite, or an empty string."""
    for name, entry in extras.items():
        problem = ""
        if isinstance(entry, Mapping):
            problem = not_finite(entry)
        elif np.issubdtype(np.asarray(entry).dtype, np.inexact) and not np.isfinite(entry).all():
            problem = f"{name!r} holds numbers that are not finite (NaN or infinity)"
        if problem:
            return problem
    return ""


def norm(weights: Weights) -> float:
    """Return the Euclidean norm over all floating entries, in float64."""
    floating = (array for array in weights.values() if np.issubdtype(array.dtype, np.inexact))
    return float(
        np.sqrt(sum(float(np.sum(np.abs(array.astype(np.float64)) ** 2)) for array in floating))
    )


def distance(a: Weights, b: Weights) -> float:
    """Return the Euclidean distance between two weights over their floating entries."""
    floating = {name: array for name, array in a.items() if np.issubdtype(array.dtype, np.inexact)}
    return norm(tree_map(lambda x, y: x.astype(np.float64) - y, floating, b))


def change(new: Weights, old: Weights) -> Weights:
    """Return `new` minus `old` in float64, for their floating entries only."""
    floating = {
        name: array for name, array in old.items() if np.issubdtype(array.dtype, np.floating)
    }
    return tree_map(lambda a, b: b.astype(np.float64) - a, floating, new)


def moved(old: Weights, step: Weights) -> Weights:
    """Return the entries of `old` that have a step, moved by it, in their own dtypes."""
    return {name: (old[name] + array).astype(old[name].dtype) for name, array in step.items()}


def equal(a: Weights, b: Weights) -> bool:
    """Return whether two weights hold the same numbers."""
    return a is b or all(np.array_equal(array, b[name]) for name, array in a.items())


def digest(weights: Weights) -> str:
    """Return the SHA-256 of names, dtypes, shapes and values."""
    sha = hashlib.sha256()
    for name in sorted(weights):
        array = np.ascontiguousarray(weights[name])
        sha.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


#: Numbers of an array up to which numpy's functions of elements do not let other threads run.
_FEW = 500


def misfit(weights: Weights, like: Weights, *, partial: bool = False) -> str:
    """Return the first difference in form between `weights` and `like`, or an empty string.

    partial: some of the entries are enough
    Checked in this order: names, arrays, shapes, dtypes, and that every number is finite.
    """
    if not isinstance(weights, dict):
        return f"it is {type(weights).__name__}, not a dictionary of arrays by name"
    if not (weights.keys() <= like.keys() if partial else weights.keys() == like.keys()):
        return (
            "its entries are named differently: "
            f"{', '.join(sorted(weights.keys() ^ like.keys())[:3])}"
        )
    # Once for all entries: a thousand parties' replies have many small ones.
    with np.errstate(over="ignore", invalid="ignore"):
        for name, array in weights.items():
            expected = like[name]
            if not isinstance(array, _ARRAYS):
                return f"{name!r} is {type(array).__name__}, not a numpy array"
            if array.shape != expected.shape:
                return f"{name!r} has shape {array.shape}, not {expected.shape}"
            if array.dtype != expected.dtype:
                return f"{name!r} is {array.dtype}, not {expected.dtype} (use astype)"
            if array.dtype.kind in "fc" and not _is_finite(array):
                return f"{name!r} holds numbers that are not finite (NaN or infinity)"
    return ""


def _is_finite(array: np.ndarray) -> bool:
    """Return whether all numbers are finite; numpy's warnings must be off.

    One number tells it instead of a mask: it is finite where all are, unless it overflows.
    """
    if array.dtype.kind == "f":
        if array.size < _FEW:  # a product lets other threads run, and has to wait for them
            told = np.add.reduce(array, None)
        elif array.flags.c_contiguous and array.dtype in (np.float32, np.float64):
            flat = array.reshape(-1)
            told = np.dot(flat, flat)
        else:
            told = math.nan
        if math.isfinite(told):
            return True
    return bool(np.isfinite(array).all())


def squared_norm(weights: Weights) -> float:
    """Return the squared Euclidean norm over all floating entries, in float64."""
    return norm(weights) ** 2


def weighted_mean(updates: Iterable[Update], share: Callable[[Update], float]) -> Weights:
    """Return the mean of the updates' weights, which are read once."""
    mean = RunningMean()
    for update in updates:
        mean.add(update.weights, share(update))
    return mean.mean()


def metric_mean(metrics: PartyMetrics, sizes: Mapping[str, int], name: str) -> float:
    """Return the mean of a metric over the parties that have it, weighted by sizes.

    It is NaN where no party has it.
    """
    having = [(sizes[party], found[name]) for party, found in metrics.items() if name in found]
    return mean_of(name, having)


def mean_of(name: str, sized: Iterable[tuple[float, float]]) -> float:
    """Return the mean of a metric's values, given as (size, value) and weighted by the sizes.

    A perplexity is the exponential of a loss, and so is the mean of several: that of the mean loss.
    It is NaN where there is nothing.

    >>> round(mean_of("perplexity", [(1, 2.0), (1, 8.0)]), 6)
    4.0
    """
    having = list(sized)
    total = sum(size for size, _ in having)
    if not total:
        return float("nan")
    if name.rpartition("_")[2] != "perplexity":
        return sum(size * value for size, value in having) / total
    logs = sum(size * math.log(value) for size, value in having if value > 0)
    return exponential(logs / total)


def exponential(value: float) -> float:
    """Return e to the power of a number; infinity where that is too large."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def round_half_up(value: float) -> int:
    """Return the nearest whole number; halves go up, where Python's round() takes the even one."""
    return int(value + 0.5)


def check_finite(weights: Weights) -> None:
    """Raise ModelError for initial weights that are not all finite; it names an entry."""
    if bad := [name for name, array in weights.items() if not np.isfinite(array).all()]:
        raise ModelError(f"the model's first weights are not finite ({bad[0]})", "build it anew")
