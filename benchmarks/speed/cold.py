"""From starting Python to the result, and each steady round after that: Flower's simulation beside
ours.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.measure import sides
from benchmarks.speed.table import Row

Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Case:
    """What both are given, and what the cold start and a steady round should come to, as (reach,
    stretch).
    """

    name: str
    model: str
    parties: int
    rows: int
    options: Sequence[str]
    engine: str
    cold: tuple[float, float] | tuple[None, None] = (None, None)
    steady: tuple[float, float] | tuple[None, None] = (None, None)


_CNN = (
    "--rounds",
    "5",
    "--epochs",
    "3",
    "--batch-size",
    "32",
    "--lr",
    "1.0",
    "--optimizer",
    "adadelta",
)
_MLP = ("--rounds", "6", "--batch-size", "10", "--lr", "0.05", "--fraction", "0.1")
CASES = (
    Case("CNN 2 x 500", "cnn", 2, 500, _CNN, "local:keep_memory=true", cold=(3.5, 5)),
    Case("MLP 100 x 600", "mlp", 100, 600, _MLP, "vectorized", cold=(8, 20), steady=(2.1, 3)),
    Case("MLP 1000 x 20", "mlp", 1000, 20, _MLP, "vectorized", steady=(20, 35)),
)
QUICK = (Case("MLP 4 x 20", "mlp", 4, 20, ("--rounds", "3", "--batch-size", "10"), "vectorized"),)


def beside_flower(
    train: Arrays, test: Arrays, *, repetitions: int, cases: Sequence[Case] = CASES
) -> list[Row]:
    """Compare fresh processes that do the same."""
    rows = []
    for case in cases:
        answers: dict[str, list[dict[str, Any]]] = {"flower": [], "ours": []}
        with tempfile.TemporaryDirectory() as folder:
            path = _write(Path(folder, "rows.npz"), train, test, case)
            options = [
                "--model",
                case.model,
                "--rows",
                str(path),
                "--parties",
                str(case.parties),
                *case.options,
            ]

            def simulate(
                module: str, *more: str, options: list[str] = options, answers: Any = answers
            ) -> float:
                line = [sys.executable, "-m", f"benchmarks.speed.{module}", *options, *more]
                done = subprocess.run(line, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{module} ended with {done.returncode}:\n{done.stderr[-2000:]}")
                answers[module].append(json.loads(done.stdout.splitlines()[-1]))
                return answers[module][-1]["total"]

            found = sides(
                {
                    "flower": lambda: simulate("flower"),
                    "ours": lambda case=case: simulate("ours", "--engine", case.engine),
                },
                repetitions=repetitions,
            )
        accuracy = {
            name: statistics.median(each["accuracy"] for each in got)
            for name, got in answers.items()
        }
        steady = {
            name: [
                statistics.median(each["rounds"][1:-1]) for each in got if len(each["rounds"]) > 2
            ]
            for name, got in answers.items()
        }
        common = {"at_most": False, "discarded": found.discarded, "is_noisy": found.is_noisy}
        reached = f"accuracy {accuracy['flower']:.4f} against {accuracy['ours']:.4f}"
        times = f"{found.median('flower'):.1f} s against {found.median('ours'):.1f} s"
        rows.append(
            Row(f"{case.name}, cold: Flower over ours", found.ratio("flower", "ours"), *case.cold,
                detail=f"{times}; {reached}", **common)
        )  # fmt: skip
        theirs, own = (statistics.median(steady[name]) for name in ("flower", "ours"))
        rows.append(
            Row(f"{case.name}, steady round: Flower over ours", theirs / own, *case.steady,
                detail=f"{1e3 * theirs:.0f} ms against {1e3 * own:.0f} ms", **common)
        )  # fmt: skip
    return rows


def _write(path: Path, train: Arrays, test: Arrays, case: Case) -> Path:
    count = case.parties * case.rows
    chosen = np.random.default_rng(0).permutation(len(train[0]))[:count]
    bounds = np.arange(0, count + 1, case.rows)
    arrays = {
        "x": train[0][chosen],
        "y": train[1][chosen],
        "bounds": bounds,
        "x_test": test[0],
        "y_test": test[1],
    }
    np.savez(path, **arrays)
    return path
