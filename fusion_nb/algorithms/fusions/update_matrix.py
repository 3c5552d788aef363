"""The updates of a round as a matrix with a row for each party, read a few columns at a time.

No second copy of all updates is made. Numbers are converted to float64, and returned in their own
dtypes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fusion_nb.core.types import Update, Weights

#: Columns that are read together.
_COLUMNS = 2**15
#: A function `(parties, columns) -> columns`.
Columnwise = Callable[[np.ndarray], np.ndarray]


def is_real(array: np.ndarray) -> bool:
    """Return whether distances include an entry: it is floating, or complex (two numbers)."""
    return bool(np.issubdtype(array.dtype, np.inexact))


def each_column(updates: Sequence[Update], function: Columnwise) -> Weights:
    """Return the results of a function of each column of the updates' entries.

    Whole numbers are passed as differences from one in the middle, so that counters beyond 2**53
    keep their last digit when all agree, and the results are rounded; booleans are passed as 0 and
    1.
    """
    return {
        name: _each_column([np.asarray(update.weights[name]) for update in updates], function)
        for name in updates[0].weights
    }


def _each_column(arrays: Sequence[np.ndarray], function: Columnwise) -> np.ndarray:
    fused = np.empty(arrays[0].shape, arrays[0].dtype)
    columns, rows = _flat(fused), [_flat(array) for array in arrays]
    for part in _parts(columns.size):
        block = np.stack([row[part] for row in rows])
        if np.issubdtype(block.dtype, np.integer):
            block = block.astype(np.int64)
            middle = np.sort(block, axis=0)[len(block) // 2]
            columns[part] = middle + np.rint(function((block - middle).astype(np.float64))).astype(
                np.int64
            )
        elif block.dtype == np.bool_:
            columns[part] = function(block.astype(np.float64)) >= 0.5
        else:
            columns[part] = function(block.astype(np.float64))
    return fused


def products(updates: Sequence[Update], start: Weights, *more: Weights) -> np.ndarray:
    """Return the inner product of every two of the updates' changes since `start`.

    It is over all floating entries.

    more: further changes, which come last; entries that they lack are 0
    From these follow all distances. Measured from the start of the round, which no hostile party
    chose, those among honest parties stay exact however far away another party is. A distance too
    long for float64 is infinite, or NaN.
    """
    size = len(updates) + len(more)
    found = np.zeros((size, size))
    with np.errstate(over="ignore", invalid="ignore"):
        for name, old in start.items():
            if not is_real(old):
                continue
            origin = _flat(old)
            rows = [_flat(np.asarray(update.weights[name])) for update in updates]
            others = [
                _flat(change[name]) if name in change else np.zeros(origin.size) for change in more
            ]
            for part in _parts(origin.size):
                block = np.empty((size, len(origin[part])))
                for i, row in enumerate(rows):
                    np.subtract(row[part], origin[part], out=block[i], dtype=np.float64)
                for i, other in enumerate(others, len(rows)):
                    block[i] = other[part]
                found += block @ block.T
    return found


def between(products: np.ndarray) -> np.ndarray:
    """Return the squared distance between every two changes, from their inner products."""
    own = np.diagonal(products)
    with np.errstate(invalid="ignore"):
        found = own[:, None] + own - 2 * products
    return np.where(np.isfinite(found), np.maximum(found, 0.0), np.inf)


def from_mixture(products: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return every change's distance from the sum of all of them, each times its share."""
    mixed = products @ shares
    squares: np.ndarray = np.diagonal(products) - 2 * mixed + shares @ mixed
    return np.sqrt(np.maximum(squares, 0.0))


def mixture(updates: Sequence[Update], start: Weights, shares: np.ndarray) -> Weights:
    """Return the sum of the updates' changes since `start`, each times its share.

    It has the floating entries only, in float64.
    """
    found: Weights = {}
    for name, old in start.items():
        if is_real(old):
            wide = np.result_type(old.dtype, np.float64)
            found[name] = np.zeros(old.shape, wide)
            for update, share in zip(updates, shares, strict=True):
                if share:
                    found[name] += share * (update.weights[name].astype(wide) - old)
    return found


def _parts(size: int) -> Iterator[slice]:
    return (slice(begin, begin + _COLUMNS) for begin in range(0, size, _COLUMNS))


def _flat(array: np.ndarray) -> np.ndarray:
    """Return the numbers of an entry in one row, a complex one as two.

    The row shares the memory of an array in one piece.
    """
    flat = np.ascontiguousarray(array).reshape(-1)
    return flat.view(flat.real.dtype) if np.iscomplexobj(flat) else flat
