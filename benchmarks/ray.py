"""A Ray of this machine beside worker processes, threads and Flower's simulation.

    python -m benchmarks.ray [repetitions]

Ten parties train the perceptron of the FedAvg paper for one epoch in batches of 10, two at a time:
on 20 rows each, where a turn is mostly what the engine costs, and on 600. All take turns, and the
order changes, so that a busy machine is as busy for each. Told are the seconds of a party's turn
(a round over its number of parties, times two workers), those from the start of a run to the end of
its first round less another round, and both as ratios. With FUSION_NB_DATA the rows are those of
MNIST, and otherwise they are drawn.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.checkpoint import rows
from benchmarks.speed import peers
from fusion_nb import Run, RunSpec

PARTIES, ROUNDS, WORKERS = 10, 6, 2
ENGINES = tuple(f"{name}:workers={WORKERS}" for name in ("local", "process", "ray"))
#: Seconds that Flower's simulation may take.
_PATIENCE = 600
#: Seconds of a party's turn, and of the start.
Cost = tuple[float, float]


def ours(engine: str, data: tuple[np.ndarray, np.ndarray]) -> Cost:
    """Return the cost of an engine."""
    spec = RunSpec(
        data="data",
        engine=engine,
        parties=PARTIES,
        rounds=ROUNDS,
        split="iid",
        evaluate_every=10**6,
        batch_size=10,
        lr=0.05,
    )
    few = data[0][:50], data[1][:50]
    run, ended = Run(spec, {"model": peers.mlp(0), "data": (data, few)}), list[float]()
    started = time.perf_counter()
    run.subscribe(lambda run: ended.append(time.perf_counter()) if run.records else None)
    run.start().wait()
    # Without the first round, which sets up, and the last, which is measured.
    usual = statistics.median(record.seconds for record in run.records[1:-1])
    return usual * WORKERS / PARTIES, ended[0] - started - usual


def flowers(data: tuple[np.ndarray, np.ndarray]) -> Cost:
    """Return the cost of Flower's simulation, in a process of its own."""
    bounds = np.linspace(0, len(data[0]), PARTIES + 1).astype(int)
    options = {"parties": PARTIES, "rounds": ROUNDS, "batch-size": 10, "cores": WORKERS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npz"
        np.savez(path, x=data[0], y=data[1], bounds=bounds)
        given = [f"--{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-m", "benchmarks.speed.flower", "--rows", str(path), *given]
        # A simulation whose Ray can't start, since the machine is too busy, does not end.
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_PATIENCE
        )
    if done.returncode:
        sys.exit(f"Flower's simulation failed:\n{done.stderr[-2000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    usual = statistics.median(answer["rounds"][1:])
    started = answer["total"] - sum(answer["rounds"][1:]) - usual
    return usual * WORKERS / PARTIES, started


def compared(num_rows: int, repetitions: int) -> dict[str, Cost]:
    """Return the median costs of all, which take turns on parties with this number of rows."""
    data = rows(PARTIES * num_rows)
    cases: dict[str, Callable[[], Cost]] = {
        engine: lambda engine=engine: ours(engine, data) for engine in ENGINES
    }
    cases["Flower's simulation"] = lambda: flowers(data)
    found: dict[str, list[Cost]] = {name: [] for name in cases}
    for turn in range(repetitions):
        for name in list(cases)[:: 1 if turn % 2 == 0 else -1]:
            found[name].append(cases[name]())
    return {
        name: (
            statistics.median(turn for turn, _ in costs),
            statistics.median(start for _, start in costs),
        )
        for name, costs in found.items()
    }


def main(arguments: list[str] | None = None) -> None:
    """Print a line for each, with its ratios to the engine `process`."""
    given = sys.argv[1:] if arguments is None else arguments
    repetitions = int(given[0]) if given else 3
    for num_rows in (20, 600):
        found = compared(num_rows, repetitions)
        turn, start = found[ENGINES[1]]
        print(f"{PARTIES} parties x {num_rows} rows, {WORKERS} at a time")
        for name, (own_turn, own_start) in found.items():
            print(
                f"  {name:20} a turn {1e3 * own_turn:7.1f} ms ({own_turn / turn:5.2f} x process)"
                f"   start {own_start:5.1f} s ({own_start / start:5.2f} x process)",
                flush=True,
            )


if __name__ == "__main__":
    main()
