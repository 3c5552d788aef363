"""The engine `flower` beside Flower's own deployment and its simulation.

    python -m benchmarks.flower [repetitions]

Two parties train the perceptron of the FedAvg paper for one epoch on 20 rows each, where a turn is
mostly what the messages cost: in a rehearsal (`--engine flower`), over a running federation with
`fusion-nb party`, over a stock SuperLink with two stock SuperNodes, and in Flower's simulation (ten
parties there, two at a time). All take turns, and the order changes, so that a busy machine is as
busy for each. Told are the seconds of a party's turn, and the ratio to the stock deployment.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks import ray
from benchmarks.checkpoint import rows
from benchmarks.speed import peers
from fusion_nb import Run, RunSpec
from fusion_nb.engines.flower.child import ENVIRONMENT
from fusion_nb.engines.flower.children import free_address, listens
from fusion_nb.engines.flower.names import flower
from fusion_nb.engines.flower.project import project_files

PARTIES, NUM_ROWS, ROUNDS = 2, 20, 5
#: Seconds that Flower's programs may take.
_PATIENCE = 240
_BIN = Path(sys.executable).parent
STOCK = "Flower's deployment"

Start = Callable[..., None]


@contextmanager
def programs(folder: Path) -> Iterator[Start]:
    """Yield a function that starts a program; all end with the block, and what they started too."""
    root = str(Path(__file__).parents[1])
    env = {**os.environ, **ENVIRONMENT, "FLWR_HOME": str(folder / "home"), "PYTHONPATH": root}
    env["PATH"] = os.pathsep.join((str(_BIN), env["PATH"]))
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        with (folder / f"{len(started)}.log").open("wb") as log:
            made = subprocess.Popen(
                command, env=env, stdout=log, stderr=log, start_new_session=True
            )
        started.append(made)

    try:
        yield start
    finally:
        for program in reversed(started):
            os.killpg(program.pid, signal.SIGKILL)
            program.wait()


def superlink(start: Start, *options: str) -> str:
    """Start a SuperLink, and return its address."""
    address = free_address()
    host, _, port = address.rpartition(":")
    start(
        *(str(_BIN / "flower-superlink"), "--insecure", "--host", host, "--port", port),
        *("--disable-runtime-dependency-installation", *options),
    )
    until(lambda: listens(address), "SuperLink")
    return address


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something to become true. Exit where it does not."""
    end = time.monotonic() + _PATIENCE
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"{what}: it is not there after {_PATIENCE} s")
        time.sleep(0.1)


def files(folder: Path) -> list[Path]:
    """Write the rows of each party, and return the files."""
    x, y = rows(PARTIES * NUM_ROWS)
    made = []
    for i in range(PARTIES):
        mine = slice(i * NUM_ROWS, (i + 1) * NUM_ROWS)
        made.append(folder / f"rows_{i}.npz")
        np.savez(made[-1], x_train=x[mine], y_train=y[mine])
    return made


def turn(engine: str, **given: object) -> float:
    """Return the seconds of a usual round of ours, in which each node has one turn."""
    spec = RunSpec(
        engine=engine,
        parties=PARTIES,
        rounds=ROUNDS,
        evaluate_every=10**6,
        batch_size=10,
        lr=0.05,
        **({"data": "data", "split": "iid"} if "data" in given else {}),
    )
    run = Run(spec, {"model": peers.mlp(0), **given}).start().wait()
    # Without the first round, which sets up, and the last, which is measured.
    return statistics.median(record.seconds for record in run.records[1:-1])


def rehearsal() -> float:
    """Return the cost of a turn in a rehearsal."""
    data = rows(PARTIES * NUM_ROWS)
    return turn(f"flower:nodes={PARTIES}", data=(data, (data[0][:20], data[1][:20])))


def running() -> float:
    """Return the cost of a turn over a running federation, with programs of parties."""
    with tempfile.TemporaryDirectory() as name, programs(Path(name)) as start:
        folder = Path(name)
        address = superlink(start, "--isolation", "process")
        for i, file in enumerate(files(folder)):
            start(
                *(sys.executable, "-m", "fusion_nb.cli", "party", "--superlink", address),
                *("--insecure", "--data", str(file), "--name", f"party {i + 1}"),
                *("--log", str(folder / f"party {i + 1}.txt")),
            )
        return turn(f"flower:superlink={address},insecure=true,wait={_PATIENCE}")


def deployment() -> float:
    """Return the cost of a turn over a stock SuperLink and stock SuperNodes."""
    with tempfile.TemporaryDirectory() as name, programs(Path(name)) as start:
        folder, out = Path(name), Path(name) / "out.json"
        address = superlink(start)
        for file in files(folder):
            start(
                *(str(_BIN / "flower-supernode"), "--insecure", "--superlink", address),
                *("--port", free_address().rpartition(":")[2]),
                *("--node-config", f'rows="{file}"'),
            )
        _start_run(address, out)
        until(out.exists, STOCK)
        found = json.loads(out.read_text())
        return statistics.median(found[1:-1])


def _start_run(address: str, out: Path) -> None:
    code = "from benchmarks.flower_app import client, server\n\n__all__ = ['client', 'server']\n"
    config = {"num-server-rounds": ROUNDS, "out": str(out)}
    # The nodes import the app from this repository.
    made = project_files("fusion-nb-benchmark", "A perceptron.", code, config)
    content, _ = flower("build_fab_from_files")(made)
    fab = flower("Fab")(hashlib.sha256(content).hexdigest(), content, {})
    version = flower("RuntimeVersionHttpInterceptor")(component_name="flwr-cli")
    client = flower("ControlHttpClient").from_server_address(address, True, None, [version])
    try:
        client.StartRun(flower("StartRunRequest")(fab=flower("fab_to_proto")(fab)))
    finally:
        client.close()


def simulation() -> float:
    """Return the cost of a turn in Flower's simulation."""
    return ray.flowers(rows(ray.PARTIES * NUM_ROWS))[0]


CASES: dict[str, Callable[[], float]] = {
    STOCK: deployment,
    "flower:superlink=...": running,
    "flower": rehearsal,
    "Flower's simulation": simulation,
}


def main(arguments: list[str] | None = None) -> None:
    """Print the seconds of a party's turn for each, and their ratio to the stock deployment."""
    given = sys.argv[1:] if arguments is None else arguments
    # One that is ended by a time limit ends its programs too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("it was ended"))
    found: dict[str, list[float]] = {name: [] for name in CASES}
    for repetition in range(int(given[0]) if given else 2):
        for name in list(CASES)[:: 1 if repetition % 2 == 0 else -1]:
            found[name].append(CASES[name]())
    stock = statistics.median(found[STOCK])
    for name, costs in found.items():
        usual = statistics.median(costs)
        print(f"{name:22} a turn {usual:6.2f} s   {usual / stock:5.2f} x stock", flush=True)


if __name__ == "__main__":
    main()
