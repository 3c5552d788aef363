"""How long our own modules take to load before a first run, when PyTorch is there already."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks.speed.table import Row

_NO_BYTE_CODE = "PYTHONDONTWRITEBYTECODE"
_CODE = """
import time, numpy, torch, pydantic_core.core_schema, pydantic.fields
started = time.perf_counter()
import fusion_nb
from fusion_nb.runs import session
from fusion_nb.models.torch import adapter
from fusion_nb.engines import local, vectorized
print(time.perf_counter() - started)
"""


def imports(*, repetitions: int) -> list[Row]:
    """Take the time of the imports of a run in fresh processes, without torch and pydantic."""
    with tempfile.TemporaryDirectory() as folder:
        # An installed package has byte code; the first process writes it here.
        without = {name: text for name, text in os.environ.items() if name != _NO_BYTE_CODE}
        surroundings = {**without, "PYTHONPYCACHEPREFIX": folder}
        taken = [_seconds(surroundings) for _ in range(repetitions + 1)][1:]
    name = "imports of a run, beside torch, numpy and pydantic"
    return [Row(name, statistics.median(taken), 0.25, unit=" s")]


def _seconds(surroundings: dict[str, str]) -> float:
    line = [sys.executable, "-c", _CODE]
    done = subprocess.run(line, check=True, capture_output=True, text=True, env=surroundings)
    return float(done.stdout)
