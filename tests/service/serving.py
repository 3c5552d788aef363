"""A server for the service's tests: started as users start it, on loopback, and killed as machines
crash.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import psutil
import requests

from fusion_nb.data import image_datasets

#: Seconds after which a test that waits counts as hung; generous, because machines may be busy.
PATIENCE = 300
#: Rounds of a run that goes on until a test ends it.
ENDLESS = 100_000
#: Limits of the shared server, small enough for a test to exceed them: bytes of a request, and of
#: an archive after unpacking.
MAX_UPLOAD = 10 << 20
MAX_UNPACKED = 20 << 20


class Server:
    """A process of `fusion-nb serve`, and calls to it with the key that it printed."""

    def __init__(self, state: Path, *options: str) -> None:
        self.state = state
        self.options = options
        self.key: tuple[str, ...] = ()
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        command = [sys.executable, "-m", "fusion_nb.cli", "serve", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--state", str(self.state), *self.options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""},
        )
        assert self.process.stdout is not None
        greeting = self._read_greeting(self.process.stdout)
        # The rest is read too, because a full pipe would block the server.
        self._reader = threading.Thread(
            target=self._drain, args=(self.process.stdout,), daemon=True
        )
        self._reader.start()
        address = re.search(r"Model Fusion at (\S+),", greeting)
        assert address, greeting
        self.address = address[1]
        self.key = self.key or tuple(re.findall(r"CLIENT_\w+=(\S+)", greeting))
        self.session = requests.Session()
        self.session.auth = (self.key[0], self.key[1])

    def _read_greeting(self, output: IO[str]) -> str:
        """Return the output up to the address and, on the first start, the key."""
        greeting = ""
        for line in output:
            greeting += line
            if "Model Fusion at" in greeting and (self.key or "CLIENT_SECRET" in greeting):
                return greeting
        raise AssertionError(greeting)

    @staticmethod
    def _drain(output: IO[str]) -> None:
        with output:
            output.read()

    @property
    def url(self) -> str:
        """The address with the credentials in it."""
        return self.address.replace("://", f"://{self.key[0]}:{self.key[1]}@")

    def kill(self) -> None:
        """End the process as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self._wait()

    def close(self) -> None:
        """End the process as an operator does."""
        self.process.terminate()
        self._wait()

    def _wait(self) -> None:
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def children(self, module: str = "") -> list[psutil.Process]:
        """Return the server's child processes that run a module of `service.processes`, or all."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        name = f"fusion_nb.service.processes.{module}"
        return [child for child in found if not module or name in child.cmdline()]

    def call(self, method: str, path: str, **request: Any) -> requests.Response:
        return self.session.request(method, self.address + path, timeout=PATIENCE, **request)

    def start_aggregator(self, model: Path | bytes, **fields: Any) -> requests.Response:
        fields = {"fusion_algorithm": "fedavg", "model_type": "pytorch", "num_parties": 2, **fields}
        content = model.read_bytes() if isinstance(model, Path) else model
        files = {"model_file": ("model", content)}
        return self.call("POST", "/start-aggregator", data=fields, files=files)

    def new_aggregator(self, model: Path | bytes, **fields: Any) -> str:
        """Start an aggregator that must not be refused, and return its id."""
        answer = self.start_aggregator(model, **fields)
        assert answer.ok, answer.text
        return str(answer.json()["aggregator_id"])

    def start_party(
        self, aggregator_id: str, data: Path | bytes, handler: str = "npz", **fields: Any
    ) -> requests.Response:
        content = data.read_bytes() if isinstance(data, Path) else data
        files = {"data": ("rows", content), **fields.pop("files", {})}
        fields = {"aggregator_id": aggregator_id, "data_handler_class_name": handler, **fields}
        return self.call("POST", "/start-party", data=fields, files=files)

    def ready(self, model: Path, data: Path, **fields: Any) -> str:
        """Return the id of an aggregator whose parties have all registered."""
        aggregator_id = self.new_aggregator(model, **fields)
        for _ in range(int(fields.get("num_parties", 2))):
            answer = self.start_party(aggregator_id, data)
            assert answer.ok, answer.text
        return aggregator_id

    def train(self, aggregator_id: str, wait: bool = True) -> requests.Response:
        params = {"wait": str(wait).lower()}
        return self.call("POST", "/train", params=params, json={"aggregator_id": aggregator_id})

    def status(self, aggregator_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/status/{aggregator_id}")
        assert answer.ok, answer.text
        return dict(answer.json())

    def stop(self, aggregator_id: str) -> requests.Response:
        return self.call("POST", "/stop", json={"aggregator_id": aggregator_id})

    def stop_runs(self) -> None:
        """Stop all runs under way."""
        for found in self.call("GET", "/aggregators").json()["aggregators"]:
            if found["state"] in ("queued", "training"):
                self.stop(found["aggregator_id"])


@contextlib.contextmanager
def serving(state: Path, *options: str) -> Iterator[Server]:
    """Yield a server, which is killed afterwards."""
    server = Server(state, *options)
    try:
        yield server
    finally:
        server.kill()


def save_rows(path: Path, start: int = 0, count: int = 60, **arrays: Any) -> Path:
    """Write some digits as a party's file: images of 28 x 28 bytes, and labels."""
    (x, y), _ = image_datasets.Digits().get_data()
    images = (x[start : start + count, 0] * 255).astype(np.uint8)
    np.savez(path, **{"x_train": images, "y_train": y[start : start + count], **arrays})
    return path


def save_model(path: Path) -> Path:
    """Write a small PyTorch model for rows as the data handler npz reads them."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10)), path)
    return path


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds, and fail if it never does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        time.sleep(0.05)
