"""Programs of parties that keep their rows, started as their owners start them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kept_rows import NAMES, rows_of, save_kept
from serving import PATIENCE, Server, wait_for

import fusion_nb
from fusion_nb.models import lookup


class Parties:
    """Programs of parties by name, each with its rows, its token and its log in a folder."""

    def __init__(self, folder: Path, url: str, key: tuple[str, ...]) -> None:
        self.folder, self.url = folder, url
        self._environment = os.environ | {
            "FUSION_NB_SERVICE_KEY": ":".join(key),
            "NETRC": str(folder / "none"),
            "OMP_NUM_THREADS": "1",
        }
        #: The last one of each name.
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._all: list[subprocess.Popen[bytes]] = []

    def join(self, aggregator_id: str, name: str, number: int, *options: str) -> None:
        """Start the program of a party."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self._programs[name] = subprocess.Popen(
                [
                    *(sys.executable, "-m", "fusion_nb.cli", "party"),
                    *("--service", self.url, "--aggregator", aggregator_id),
                    *("--name", name, "--data", str(save_kept(self.folder, number))),
                    *("--log", str(self.log(name)), *options),
                ],
                stdout=out,
                stderr=out,
                cwd=self.folder,
                env=self._environment,
            )
        self._all.append(self._programs[name])

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        """Return its log so far, and what it printed."""
        texts = [self.log(name), self.folder / f"{name}.out"]
        return "\n".join(path.read_text() for path in texts if path.is_file())

    def joined(self, name: str) -> bool:
        return "connected to" in self.said(name)

    def kill(self, name: str) -> None:
        os.kill(self._programs[name].pid, signal.SIGKILL)
        self._programs.pop(name).wait()

    def ended(self, name: str) -> int:
        """Wait for the end of a program, and return its exit status."""
        return self._programs.pop(name).wait(PATIENCE)

    def close(self) -> None:
        for program in self._all:
            program.kill()
            program.wait()


@contextmanager
def parties(folder: Path, server: Server, url: str = "") -> Iterator[Parties]:
    """Yield parties of a server; url: where they call it, by default its own address."""
    made = Parties(folder, url or server.address, server.key)
    try:
        yield made
    finally:
        made.close()


def join_all(made: Parties, aggregator_id: str, *options: str, count: int = 3) -> None:
    """Start parties, one after the other, so that they are registered in this order."""
    for i, name in enumerate(NAMES[:count]):
        made.join(aggregator_id, name, i + 1, *options)
        wait_for(lambda name=name: made.joined(name))


def local(
    model: Path, rounds: int, count: int = 3, *, only: str = "", **options: Any
) -> fusion_nb.Run:
    """Train in this process on the rows of the same parties, or of one alone."""
    data = {name: rows_of(i + 1) for i, name in enumerate(NAMES[:count]) if only in ("", name)}
    net = lookup.find(str(model), {})
    given: dict[str, Any] = {
        "rounds": rounds,
        "lr": 0.1,
        "batch_size": 8,
        "engine": "local",
        **options,
    }
    return fusion_nb.federate(net, data, **given)
