"""Thousands of damaged files of models: none ends the process, hangs, or takes memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="limits of memory are POSIX's")

ROOT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("mutate_files.py")
MEMORY = 600 << 20
PACKAGES = {
    "doc2vec": "gensim",
    "keras": "keras",
    "lightgbm": "lightgbm",
    "sklearn": "skops",
    "torch": "torch",
    "xgboost": "xgboost",
    "xgboost_ubj": "xgboost",
}


def outcomes(kind: str, first: int, count: int, folder: Path, seconds: float) -> Counter[str]:
    """Return how often each outcome occurred, after reading mutants in a child process."""
    pytest.importorskip(PACKAGES[kind])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", CHILD, kind, str(first), str(count), folder],
        capture_output=True,
        text=True,
        timeout=seconds,
        env=environment,
    )
    lines = done.stdout.splitlines()
    last = next((line for line in reversed(lines) if line.isdecimal()), "none")
    assert done.returncode == 0, (
        f"mutant {last} of {kind}: {done.returncode}\n{done.stderr[-3000:]}"
    )
    assert int(lines[-1].removeprefix("memory ")) < MEMORY
    found = Counter(line.split()[0] for line in lines[:-1] if not line.isdecimal())
    assert set(found) <= {"taken", "refused"}, [
        line for line in lines[:-1] if line.startswith(("unclear", "raised"))
    ][:5]
    assert found.total() == count
    return found


#: Kinds that others stand for where time is short.
LONG = {"lightgbm", "sklearn", "xgboost", "xgboost_ubj", "keras"}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.slow if kind in LONG else ())
        for kind in sorted(PACKAGES)
    ],
)
def test_mutants_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    assert outcomes(kind, 0, 50, tmp_path, 300)["refused"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 3500, 500))
@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_ten_thousand_mutants_are_read_or_refused(kind: str, first: int, tmp_path: Path) -> None:
    outcomes(kind, 1000 + first, 500, tmp_path, 900)
