"""Run every script and print one table: `python -m benchmarks.papers [--quick] [--seed N]`."""

from __future__ import annotations

from benchmarks.papers import bucketing, fda, fedprox, mcmahan, mcmahan_cnn, niid_bench, private
from benchmarks.papers.common import Case, main

SCRIPTS = (mcmahan, mcmahan_cnn, fda, niid_bench, fedprox, bucketing, private)
CASES: dict[str, Case] = {
    f"{script.__name__.rpartition('.')[2]}.{name}": case
    for script in SCRIPTS
    for name, case in script.CASES.items()
}

if __name__ == "__main__":
    main(__doc__, CASES)
