"""The load of a kernel over many runs and rounds: memory, threads, files, widgets, processes.

`python -m benchmarks.soak [RUNS [ROUNDS]]` prints the numbers and draws build/soak.png.
"""

from __future__ import annotations

import ast
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_client.manager import start_new_kernel

RUNS, ROUNDS = 500, 5000
#: The things that are counted, and their unit.
COUNTS = {
    "memory": "MB",
    "threads": "",
    "files": "open",
    "widgets": "",
    "processes": "children",
    "temporary": "files",
}
PREPARE = """
%load_ext fusion_nb
import gc, os, sys, tempfile, threading, time
import ipywidgets, numpy as np, psutil
from torch import nn
rows = (np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32), np.arange(60) % 3)

def held():
    gc.collect()
    process = psutil.Process()
    return {
        "memory": round(process.memory_info().rss / 1e6, 1),
        "threads": threading.active_count(),
        "files": process.num_fds(),
        "widgets": len(ipywidgets.widgets.widget._instances),
        "processes": len(process.children(recursive=True)),
        "temporary": sum(len(names) for *_, names in os.walk(tempfile.gettempdir())),
    }
"""
RUN = """%%fusion --data rows --parties 2 --rounds {rounds} --engine {engine} {more}
model = nn.Linear(5, 3)
"""
FOLLOW = """
seen = []
while run.status == "running":
    seen.append((len(run.records), held()))
    time.sleep({seconds})
seen.append((len(run.records), held()))
print(seen)
"""

#: How many runs or rounds there were, and what the kernel held then.
Sample = tuple[int, dict[str, float]]


@dataclass
class Kernel:
    """A kernel whose cells train, with a front end that draws widgets."""

    manager: Any
    client: Any
    folder: tempfile.TemporaryDirectory[str]

    @classmethod
    def start(cls) -> Kernel:
        """Return a new kernel that has loaded the extension."""
        folder = tempfile.TemporaryDirectory()  # or the files of other programs are counted too
        kernel = cls(
            *start_new_kernel(
                extra_arguments=["--log-level=ERROR"], env={**os.environ, "TMPDIR": folder.name}
            ),
            folder,
        )
        kernel.run(PREPARE)
        return kernel

    def run(self, code: str) -> str:
        """Run a cell, and return what it printed. Raises RuntimeError where it fails."""
        printed: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "error":
                raise RuntimeError(f"{content['ename']}: {content['evalue']}")
            if message["msg_type"] == "stream":
                printed.append(content["text"])

        self.client.execute_interactive(
            code, timeout=600, allow_stdin=True, stdin_hook=lambda _: None, output_hook=hear
        )
        return "".join(printed)

    def held(self) -> dict[str, float]:
        """Return what the kernel holds."""
        found: dict[str, float] = ast.literal_eval(self.run("print(held())"))
        return found

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.folder.cleanup()


def over_runs(
    kernel: Kernel, runs: int, every: int, engine: str = "local", more: str = "--name run"
) -> list[Sample]:
    """Return what is held after every few runs of 2 rounds."""
    samples = []
    for number in range(1, runs + 1):
        kernel.run(RUN.format(rounds=2, engine=engine, more=more))
        if number % every == 0 or number == runs:
            samples.append((number, kernel.held()))
    return samples


def over_rounds(
    kernel: Kernel, rounds: int, engine: str = "local", seconds: float = 0.5
) -> list[Sample]:
    """Return what is held while one run trains that many rounds."""
    kernel.run(RUN.format(rounds=rounds, engine=engine, more="--name run --background"))
    samples: list[Sample] = ast.literal_eval(kernel.run(FOLLOW.format(seconds=seconds)))
    return samples


def draw(series: dict[str, list[Sample]], path: Path) -> None:
    """Draw each count over the runs, and over the rounds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(series), 2.1 * len(COUNTS)), layout="constrained")
    axes = figure.subplots(len(COUNTS), len(series), squeeze=False)
    for column, (name, samples) in enumerate(series.items()):
        for row, (count, unit) in enumerate(COUNTS.items()):
            axis = axes[row][column]
            axis.plot([at for at, _ in samples], [held[count] for _, held in samples], "#0072B2")
            axis.set_ylim(0, 1.25 * max(held[count] for _, held in samples) or 1)
            axis.set_title(f"{count} ({unit})" if unit else count, fontsize=9, loc="left")
        axes[-1][column].set_xlabel(name)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)


def report(series: dict[str, list[Sample]], say: Callable[[str], object] = print) -> None:
    """Print the counts at the first sample, halfway and at the end."""
    for name, samples in series.items():
        say(f"{name:<16}" + "".join(f"{count:>12}" for count in COUNTS))
        for at, held in (samples[0], samples[len(samples) // 2], samples[-1]):
            say(f"{at:>15} " + "".join(f"{held[count]:>12}" for count in COUNTS))


def main(runs: int = RUNS, rounds: int = ROUNDS) -> None:
    """Measure, print and draw."""
    series = {}
    for name, measure in {
        "runs": lambda kernel: over_runs(kernel, runs, max(1, runs // 50)),
        "rounds": lambda kernel: over_rounds(kernel, rounds),
    }.items():
        kernel = Kernel.start()
        try:
            kernel.run(RUN.format(rounds=2, engine="local", more="--name run"))
            series[name] = [(0, kernel.held()), *measure(kernel)]
        finally:
            kernel.close()
    report(series)
    draw(series, Path("build/soak.png"))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
