"""Parts that the tests of reports share: a maker of runs that have ended, and a small disk."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fusion_nb import Run, RunSpec


@pytest.fixture
def trained(rows: Any) -> Callable[..., Run]:
    """A maker of runs on the small rows, which waits for their end."""

    def make(model: Any, **options: Any) -> Run:
        spec = RunSpec(data="data", **{"lr": 0.1, "rounds": 3} | options)
        return Run(spec, {"model": model, "data": rows}).start().wait()

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB, of which 8 kB are free."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    mounted = tmp_path / "disk"
    mounted.mkdir()
    order = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mounted)]
    done = subprocess.run(order, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")
    try:
        (mounted / "filling").write_bytes(bytes(56 << 10))
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=False)
