"""A steady round of many small networks: pfl-research's simulation beside ours, without options."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from os import environ
from pathlib import Path

import numpy as np

from benchmarks.speed.measure import sides
from benchmarks.speed.table import Row

Arrays = tuple[np.ndarray, np.ndarray]
_OPTIONS = ("--rounds", "8", "--batch-size", "10", "--lr", "0.05", "--fraction", "0.1")


def rounds(
    train: Arrays, test: Arrays, *, repetitions: int, cases: tuple[tuple[int, int], ...]
) -> list[Row]:
    """Compare the median round of fresh processes; no rows where pfl-research is not at hand.

    cases: (parties, rows of each)
    """
    if not environ.get("PFL_PACKAGES") and find_spec("pfl") is None:
        print("pfl-research is not at hand: pip install --target FOLDER pfl; PFL_PACKAGES=FOLDER")
        return []
    found = []
    for parties, each in cases:
        count = parties * each
        chosen = np.random.default_rng(0).permutation(len(train[0]))[:count]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "rows.npz")
            arrays = {"x": train[0][chosen], "y": train[1][chosen]}
            bounds = np.arange(0, count + 1, each)
            np.savez(path, bounds=bounds, x_test=test[0], y_test=test[1], **arrays)

            def median_round(module: str, path: Path = path, parties: int = parties) -> float:
                given = ("--rows", str(path), "--parties", str(parties), *_OPTIONS)
                line = [sys.executable, "-m", f"benchmarks.speed.{module}", *given]
                done = subprocess.run(line, check=True, capture_output=True, text=True)
                taken = json.loads(done.stdout.splitlines()[-1])["rounds"]
                # Without the first, which sets up, and the last, which is measured.
                return statistics.median(taken[1:-1])

            seconds = sides(
                {
                    "pfl": lambda: median_round("pfl_research"),
                    "ours": lambda: median_round("ours"),
                },
                repetitions=repetitions,
            )
        found.append(
            Row(
                f"MLP {parties} x {each}: a round of pfl-research over ours",
                seconds.ratio("pfl", "ours"),
                1.0,
                at_most=False,
                detail=f"{1e3 * seconds.median('pfl'):.0f} ms against "
                f"{1e3 * seconds.median('ours'):.0f} ms",
                discarded=seconds.discarded,
                is_noisy=seconds.is_noisy,
            )
        )
    return found
