"""Run the cases whose results are missing or come from other code, and write README's tables.

    python -m benchmarks.papers                   # what make papers does; again: nothing
    python -m benchmarks.papers fda private.dpsgd # these scripts and cases alone
    python -m benchmarks.papers --list            # what would be run, and run nothing
    python -m benchmarks.papers --table           # README's tables from the stored results
    python -m benchmarks.papers --quick           # small versions in seconds; they say nothing

It may be killed: a seed that has ended is stored.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

import torch

from benchmarks.papers import tables
from benchmarks.papers.cases import CASES
from benchmarks.papers.common import mnist, rows, table
from benchmarks.papers.results import Results, to_run


def chosen(words: Sequence[str]) -> list[str]:
    """Return the cases that words name: a case, or all of a script. Ends where there is none.

    >>> chosen(["fedbuff"])
    ['fedbuff.ratio']
    """
    unknown = [w for w in words if not any(w in (case, case.partition(".")[0]) for case in CASES)]
    if unknown:
        sys.exit(f"no case is called {unknown[0]}; there are: {', '.join(CASES)}")
    return [c for c in CASES if not words or c in words or c.partition(".")[0] in words]


def main(arguments: Sequence[str] | None = None, results: Results | None = None) -> int:
    """Run what the command line asks for, and return 1 if a case ended with an error."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--quick", action="store_true", help="small versions")
    parser.add_argument("--list", action="store_true", help="tell what would be run")
    parser.add_argument("--table", action="store_true", help="write README's tables alone")
    parser.add_argument("--again", action="store_true", help="run all, whatever is stored")
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch")
    given = parser.parse_args(arguments)
    names, results = chosen(given.cases), results or Results()
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.quick:
        print(f"\n{table(rows(mnist(quick=True), {name: CASES[name] for name in names}))}")
        return 0
    if given.table:
        tables.write(results)
        return 0
    waiting = to_run(results, names, again=given.again)
    print(f"{len(waiting)} to run: {_described(waiting)}" if waiting else "nothing to run")
    failed = 0 if given.list else _run(waiting)
    if not given.list:
        tables.write(results)
    return failed


def _run(waiting: Sequence[tuple[str, int]]) -> int:
    """Run each in a process of its own, so that one that ends badly ends none of the others."""
    failed = 0
    for case, seed in waiting:
        made = subprocess.run(
            [sys.executable, "-m", "benchmarks.papers.one", case, str(seed)], check=False
        )
        if made.returncode:
            print(f"{case}, seed {seed}: exit code {made.returncode}", flush=True)
            failed = 1
    return failed


def _described(waiting: Sequence[tuple[str, int]]) -> str:
    found: dict[str, list[str]] = {}
    for case, seed in waiting:
        found.setdefault(case, []).append(str(seed))
    return "; ".join(f"{case} with seeds {', '.join(each)}" for case, each in found.items())


if __name__ == "__main__":
    sys.exit(main())
