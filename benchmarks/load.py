"""What `%load_ext fusion_nb` adds to the start of IPython: `python -m benchmarks.load`.

Two fresh processes in turn, with and without the extension; medians over the pairs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

BARE = "from IPython.core.interactiveshell import InteractiveShell as Shell; ip = Shell.instance()"
LOADED = BARE + "; ip.run_line_magic('load_ext', 'fusion_nb')"


def seconds(code: str) -> float:
    """Return the wall time of a fresh process that runs the code."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def added(pairs: int) -> tuple[float, float, float]:
    """Return the median seconds of bare IPython, with the extension, and the median difference."""
    seconds(LOADED)  # byte code and disk caches
    measured = [(seconds(BARE), seconds(LOADED)) for _ in range(pairs)]
    bare, loaded = (statistics.median(column) for column in zip(*measured, strict=True))
    return bare, loaded, statistics.median(b - a for a, b in measured)


def main(pairs: int = 15) -> None:
    """Print the medians and the median difference."""
    bare, loaded, more = added(pairs)
    print(
        f"bare IPython {bare * 1000:.0f} ms, with fusion_nb {loaded * 1000:.0f} ms, added "
        f"{more * 1000:.0f} ms"
    )


if __name__ == "__main__":
    main()
