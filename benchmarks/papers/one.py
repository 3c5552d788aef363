"""Run one seed of a case in a process of its own, and store its result: `python -m
benchmarks.papers.one CASE SEED`.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from benchmarks.papers.cases import CASES
from benchmarks.papers.code import digest
from benchmarks.papers.common import mnist
from benchmarks.papers.results import Results, probed


def run(case: str, seed: int, results: Results) -> None:
    """Run one seed of a case, and store its row."""
    code = digest(case)  # before the run: the files may be edited while it goes on
    started = time.perf_counter()
    row = CASES[case](mnist(seed=seed))
    row = replace(row, seconds=time.perf_counter() - started)
    results.add(case, seed, row, probed(case), code)
    # At the end: who reads that a seed has ended may end the process.
    print(f"{case}, seed {seed}: {row.here} (published {row.published}; accepted {row.accepted}), "
          f"{row.seconds:.0f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), Results())
