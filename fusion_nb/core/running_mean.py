"""The weighted mean of named arrays that come one after the other."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fusion_nb.core.process.machine import num_cores
from fusion_nb.core.types import Weights

#: Numbers that are summed at a time: fewer of them would hand the interpreter over too often, and
#: memory reads long stretches faster than short ones.
_BLOCK = 262_144
#: Numbers that an operation on two types converts at a time: so few stay in the nearest cache.
_CONVERTED = 1024
#: Weights that are summed together, so that the sums are read and written once for all of them:
#: the fewest and the most, and the bytes that they may hold while they wait.
_FEWEST, _MOST, _BYTES = 4, 16, 512 << 20
#: Numbers from which on several cores are worth their threads, and the most cores: memory is as
#: fast for them as for more, and each has scratch space of its own.
_WORTH_THREADS, _MOST_CORES = 4_000_000, 8
#: Arrays of one entry, with the share of each.
_Columns = Sequence[tuple[np.ndarray, float]]


class RunningMean:
    """A weighted mean whose memory does not grow with the number of weights.

    Floating entries are summed in float64 (complex128 for complex ones) and cast back, so that the
    mean of equal numbers is that number. Integer and boolean entries, such as BatchNorm's
    `num_batches_tracked`, are averaged and rounded to the nearest; integers are summed as
    differences from the first value, so that counters beyond 2**53 keep their last digit when all
    agree. Blocks of numbers are summed on all cores, each in the order in which weights came: the
    mean does not depend on the number of cores. Of a few weights there is no sum in memory, but
    the one of a block.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self._sums: dict[str, _Sum] = {}
        self._waiting: list[tuple[Weights, float]] = []
        self._most_waiting = _MOST

    def add(self, weights: Weights, share: float) -> None:
        """Add one set of weights, in proportion to `share`, which must not be negative.

        The arrays must not change until `mean` is called.
        """
        if not self._sums:
            self._sums = {name: _Sum(array) for name, array in weights.items()}
            size = sum(array.nbytes for array in weights.values())
            self._most_waiting = min(max(_BYTES // max(size, 1), _FEWEST), _MOST)
        elif len(self._waiting) == self._most_waiting:
            for name, entry in self._sums.items():
                entry.add(self._columns(name))
            self._waiting = []
        self._waiting.append((weights, share))
        self.total += share

    def mean(self) -> Weights:
        """Return the mean, with the names, shapes and dtypes of the weights.

        Raises ValueError when nothing was added, or all shares were 0.
        """
        if not self.total:
            raise ValueError("the mean of no updates is undefined: every share was 0")
        return {
            name: entry.mean(self._columns(name), self.total) for name, entry in self._sums.items()
        }

    def _columns(self, name: str) -> _Columns:
        return [(weights[name], share) for weights, share in self._waiting]


class _Sum:
    """The sum of one entry, in float64 or complex128."""

    def __init__(self, first: np.ndarray) -> None:
        self._shape, self._dtype, self._size = first.shape, first.dtype, first.size
        is_complex = np.issubdtype(self._dtype, np.complexfloating)
        self._wide: Any = np.complex128 if is_complex else np.float64
        is_whole = np.issubdtype(self._dtype, np.integer)
        # Subtracted as integers: a float would lose the last digits of large ones.
        self._anchor = first.reshape(-1).astype(np.int64) if is_whole else None
        self._sum: np.ndarray | None = None

    def add(self, arrays: _Columns) -> None:
        """Add arrays, each times its share."""
        runs = self._runs(arrays)
        found = self._sum = np.zeros(self._size, self._wide) if self._sum is None else self._sum

        def add(start: int, scratch: np.ndarray) -> None:
            part = slice(start, min(start + _BLOCK, self._size))
            _add_runs(found[part], found[part], runs, part, scratch)

        in_blocks(add, self._size, len(arrays), self._wide)

    def mean(self, arrays: _Columns, total: float) -> np.ndarray:
        """Return the sum, with these last arrays, over the total of all shares.

        It has the dtype of the arrays.
        """
        runs, found = self._runs(arrays), np.empty(self._size, self._dtype)
        is_floating = np.issubdtype(self._dtype, np.inexact)

        def finish(start: int, scratch: np.ndarray) -> None:
            part = slice(start, min(start + _BLOCK, self._size))
            wide = scratch[0, : part.stop - start]
            # In a sum that begins with 0, a mean of negative zeros is 0.
            before = 0.0 if self._sum is None else self._sum[part]
            _add_runs(wide, before, runs, part, scratch)
            if is_floating:
                np.divide(wide, total, out=wide)
                np.copyto(found[part], wide, casting="same_kind")
            elif self._anchor is None:
                found[part] = wide / total >= 0.5
            else:
                found[part] = self._anchor[part] + np.rint(wide / total).astype(np.int64)

        in_blocks(finish, self._size, len(arrays), self._wide)
        return found.reshape(self._shape)

    def _runs(self, arrays: _Columns) -> list[tuple[float, list[np.ndarray]]]:
        """Return the arrays in one row, those together that follow each other with one share."""
        runs = itertools.groupby(arrays, key=lambda column: column[1])
        return [(share, [self._row(array) for array, _ in run]) for share, run in runs]

    def _row(self, array: np.ndarray) -> np.ndarray:
        row = array.reshape(-1)
        return row if self._anchor is None else row.astype(np.int64) - self._anchor


def _add_runs(
    total: np.ndarray,
    before: np.ndarray | float,
    runs: Sequence[tuple[float, Sequence[np.ndarray]]],
    part: slice,
    scratch: np.ndarray,
) -> None:
    """Put `before` and a part of rows, in their order, into a total.

    The sum of each run is multiplied once.
    """
    run = scratch[1, : len(total)]
    for share, rows in runs:
        np.copyto(run, rows[0][part])
        for row in rows[1:]:
            np.add(run, row[part], out=run)
        if share != 1:
            run *= share
        np.add(run, before, out=total)
        before = total
    if before is not total:
        np.copyto(total, before)


def in_blocks(
    work: Callable[[int, np.ndarray], None],
    size: int,
    num_arrays: int = 1,
    dtype: Any = np.float64,
) -> None:
    """Call `work(start, scratch)` for each block of a row, on several cores if it is long.

    size: of the row, in numbers;  num_arrays: the number of rows that are read
    dtype: of `scratch`, two rows of a block's size that belong to one core
    """
    starts = iter(range(0, size, _BLOCK))
    lock, faults = threading.Lock(), list[BaseException]()

    def run() -> None:
        scratch = np.empty((2, min(_BLOCK, size)), dtype)
        before = np.setbufsize(_CONVERTED)  # of this thread alone
        try:
            while True:
                with lock:
                    start = next(starts, None)
                if start is None or faults:
                    return
                work(start, scratch)
        except BaseException as error:
            faults.append(error)
        finally:
            np.setbufsize(before)

    is_long = size * num_arrays >= _WORTH_THREADS
    helpers = [
        threading.Thread(target=run, name="fusion_nb mean", daemon=True)
        for _ in range(min(num_cores(), _MOST_CORES, -(-size // _BLOCK)) - 1 if is_long else 0)
    ]
    for helper in helpers:
        helper.start()
    run()
    for helper in helpers:
        helper.join()
    if faults:
        raise faults[0]
