"""The tutorials as students run them on Binder: its packages, one core, and 2 GB of memory.

`make binder` makes the environment as Binder does, from `binder/` alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parents[1]
COMMANDS = REPOSITORY / "build" / "binder" / "bin"
TUTORIALS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
#: Bytes that Binder gives a session, and seconds between two looks at what is used.
MOST_MEMORY, BETWEEN_LOOKS = 2 << 30, 0.2

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (COMMANDS / "jupyter").exists(), reason="make binder makes the environment"
    ),
]


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_on_one_core_in_2_gb(tutorial: Path, tmp_path: Path) -> None:
    shutil.copy(tutorial, tmp_path)
    options = ["--log-level=WARN", "--execute", "--to=notebook", "--output=executed.ipynb"]
    order = [COMMANDS / "jupyter", "nbconvert", *options, tutorial.name]
    peak = run_on_one_core(order, tmp_path)
    assert (tmp_path / "executed.ipynb").exists()
    assert peak < MOST_MEMORY, f"{peak / 2**30:.2f} GB"


def run_on_one_core(order: list[str | Path], folder: Path) -> int:
    """Run a command on one core, and return the most bytes that it and its children held."""
    environment = {**os.environ, "PATH": f"{COMMANDS}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("FUSION_NB_CHECKPOINT", None)
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    # A file and no pipe: nothing reads while the memory is looked at.
    with open(folder / "output.txt", "wb") as output:
        process = subprocess.Popen(
            order, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        command = psutil.Process(process.pid)
        if hasattr(command, "cpu_affinity"):  # macOS has none
            command.cpu_affinity(command.cpu_affinity()[:1])
        peak = 0
        while True:
            try:
                process.wait(BETWEEN_LOOKS)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, memory(command))
    assert process.returncode == 0, (folder / "output.txt").read_text(errors="replace")[-3000:]
    return peak


def memory(command: psutil.Process) -> int:
    """Return the bytes of a process and its children; what they share counts once."""
    found = 0
    for process in [command, *command.children(recursive=True)]:
        try:
            used = process.memory_full_info()
            found += getattr(used, "pss", used.uss)
        except psutil.Error:
            continue  # it has just ended
    return found
