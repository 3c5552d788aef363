"""What a round costs when many are behind it, and what the export of many rounds costs."""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import nn

from benchmarks.speed.table import Row
from fusion_nb import Run, federate

#: Seconds between two looks of the thread that notes how long it was kept from running.
_TICK = 0.002


def many(*, few: int, most: int, exported: tuple[int, int]) -> list[Row]:
    """Compare a long run with a short one by the processor's time, and their exports.

    few, most: rounds of both runs;  exported: of the two runs that are exported
    """
    _run(few)  # what the first run loads
    short = statistics.median(_seconds(few) for _ in range(3)) / few
    long = _seconds(most) / most
    rows = [
        Row(
            f"a round of {most:,} over one of {few}",
            long / short,
            1.15,
            detail=f"{1e3 * long:.2f} ms against {1e3 * short:.2f} ms",
        )
    ]
    costs, held = {}, 0.0
    for count in exported:
        run = _run(count)
        with _watched() as longest, tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            run.export(f"{folder}/fused")
            run.summary()
            run.history.to_frame()
            costs[count] = (time.perf_counter() - started) / count
        held = max(longest)
    first, last = exported
    detail = f"{1e6 * costs[last]:.0f} µs a round against {1e6 * costs[first]:.0f} µs"
    name = f"export and result of {last:,} rounds"
    return [
        *rows,
        Row(f"{name} over those of {first}: for each round", costs[last] / costs[first], 1.0,
            detail=detail),
        Row(f"{name}: longest that other threads waited", 1e3 * held, 100, unit=" ms"),
    ]  # fmt: skip


def _seconds(rounds: int) -> float:
    started = time.process_time()
    _run(rounds)
    return time.process_time() - started


def _run(rounds: int) -> Run:
    rng = np.random.default_rng(0)
    rows = rng.random((40, 4), dtype=np.float32), rng.integers(0, 2, 40)
    return federate(nn.Linear(4, 2), rows, parties=2, rounds=rounds, batch_size=20, lr=0.01)


@contextmanager
def _watched() -> Iterator[list[float]]:
    """Note how much later than planned another thread ran, each time, while the block runs."""
    late, done = [0.0], threading.Event()

    def look() -> None:
        before = time.perf_counter()
        while not done.wait(_TICK):
            now = time.perf_counter()
            late.append(now - before - _TICK)
            before = now

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield late
    finally:
        done.set()
        watcher.join()


def main() -> None:
    """Print the figures of shorter runs."""
    found: Any = many(few=100, most=int(sys.argv[1]), exported=(50, 500))
    for row in found:
        print(row.name, round(row.value, 3), row.unit, row.detail)


if __name__ == "__main__":
    main()
