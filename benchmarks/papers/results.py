"""Stored results of the cases: one file for each, with versions, code, seeds and machine.

A result holds as long as the code and the packages that it came from are the same. Where they are
not, the small version of the case (`--quick`) decides: with the same final metrics as before, to
six digits, the result holds, and otherwise the case is run again.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.papers.cases import CASES, seeds
from benchmarks.papers.code import digest, versions
from benchmarks.papers.common import Figure, Row, mnist
from fusion_nb.runs.session import RUNS
from fusion_nb.version import __version__

FOLDER = Path(__file__).with_name("results")
#: Digits of a small version's metrics that are compared.
_DIGITS = 6
#: The final metrics of each run of a small version.
Probe = list[dict[str, float]]


class Results:
    """The stored results of a folder.

    A file holds the case's row, the digest of its code, the metrics of its small version, and for
    each seed the figures with seconds, versions and machine.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    def of(self, case: str) -> dict[str, Any]:
        """Return what is stored of a case, or {}."""
        try:
            found: dict[str, Any] = json.loads(self._path(case).read_text(encoding="utf-8"))
        except OSError:
            return {}
        return found

    def missing(self, case: str, code: str) -> list[int]:
        """Return the seeds whose results are not there, or come from other code."""
        stored = self.of(case).get("seeds", {})
        return [
            seed
            for seed in seeds(case)
            if str(seed) not in stored or stored[str(seed)]["code"] != code
        ]

    def seconds(self, case: str) -> float:
        """Return how long a seed took when it was last run; 0 for a case that never was."""
        return max((s["seconds"] for s in self.of(case).get("seeds", {}).values()), default=0.0)

    def add(self, case: str, seed: int, row: Row, probe: Probe, code: str) -> None:
        """Store the row of a seed; results of other code are dropped."""
        found = self.of(case)
        before = {
            key: value for key, value in found.get("seeds", {}).items() if value["code"] == code
        }
        before[str(seed)] = {
            "figures": [figure.value for figure in row.figures],
            "ok": row.ok,
            "seconds": round(row.seconds, 1),
            "code": code,
            "date": datetime.now(UTC).date().isoformat(),
            "versions": {
                "python": platform.python_version(),
                "fusion_nb": __version__,
                **versions(case),
            },
            "machine": _machine(),
        }
        self._write(
            case,
            {
                "case": row.case,
                "published": row.published,
                "accepted": row.accepted,
                "figures": [{**asdict(figure), "value": None} for figure in row.figures],
                "probe": probe,
                "seeds": dict(sorted(before.items(), key=lambda item: int(item[0]))),
            },
        )

    def keep(self, case: str, code: str) -> None:
        """Let the results of a case hold for the present code too."""
        found = self.of(case)
        for result in found["seeds"].values():
            result["code"] = code
        self._write(case, found)

    def _write(self, case: str, found: dict[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._path(case).with_suffix(".draft")
        draft.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(self._path(case))

    def _path(self, case: str) -> Path:
        return self._folder / f"{case}.json"


def probed(case: str) -> Probe:
    """Return the final metrics of each run of a case's small version, and then its figures.

    It runs in a process of its own, on the CPU, so that results of a GPU can be compared anywhere.
    """
    hidden = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    script = f"from benchmarks.papers import results; results.print_probe({case!r})"
    made = subprocess.run(
        [sys.executable, "-c", script], env=hidden, stdout=subprocess.PIPE, text=True, check=True
    )
    found: Probe = json.loads(made.stdout.splitlines()[-1])
    return found


def print_probe(case: str) -> None:
    """Run a case's small version here, and print what `probed` returns as a line of JSON."""
    RUNS.clear()
    row = CASES[case](mnist(quick=True))
    found = [dict(run.history.last()) for run in RUNS.values()]
    found.append({str(i): figure.value or 0.0 for i, figure in enumerate(row.figures)})
    print(json.dumps([{name: _short(value) for name, value in each.items()} for each in found]))


def _machine() -> str:
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.machine()}, {os.cpu_count()} cores{gpu}"


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def is_same(before: Probe, now: Probe) -> bool:
    """Return whether two small versions came to the same; NaN is the same as NaN.

    >>> is_same([{"loss": float("nan")}], [{"loss": float("nan")}]), is_same([{"loss": 1.0}], [])
    (True, False)
    """
    return json.dumps(before, sort_keys=True) == json.dumps(now, sort_keys=True)


def to_run(results: Results, cases: Sequence[str], *, again: bool = False) -> list[tuple[str, int]]:
    """Return the cases and seeds that must be run, those that take least time first.

    again: all of them. Results of other code are kept where the small version of the case comes to
    the same.
    """
    if again:
        return [(case, seed) for case in cases for seed in seeds(case)]
    found = []
    for case in cases:
        code, stored = digest(case), results.of(case)
        outdated = any(result["code"] != code for result in stored.get("seeds", {}).values())
        if outdated and is_same(stored["probe"], probed(case)):
            print(f"{case}: the code has changed, its small version comes to the same", flush=True)
            results.keep(case, code)
        found += [
            (results.seconds(case) * (seed + 1), case, seed) for seed in results.missing(case, code)
        ]
    return [(case, seed) for _, case, seed in sorted(found)]


def figures(stored: dict[str, Any]) -> list[tuple[Figure, list[float | None]]]:
    """Return each figure of a stored case with its values over the seeds."""
    rows = [result["figures"] for result in stored["seeds"].values()]
    return [
        (Figure(**figure), [row[i] for row in rows]) for i, figure in enumerate(stored["figures"])
    ]
