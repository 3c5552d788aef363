"""A real server for the service's tests: started as a user starts it, on loopback, and killed as
machines do."""

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
import requests

from fusion_nb.data import image_datasets

#: Seconds that anything may take which is not a training.
PATIENCE = 60


class Server:
    """A `fusion-nb serve` of its own, and calls to it with the key that it showed."""

    def __init__(self, state: Path, *options: str, key: tuple[str, str] = ("", "")) -> None:
        self.state, self.options, self.key = state, options, key
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "fusion_nb.cli",
            "serve",
            "--port",
            "0",
            "--state",
            str(self.state),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""}
        self.process = subprocess.Popen(
            [*command, *self.options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self.said = ""
        wanted = 1 if self.key[0] else 2
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            wanted -= "Model Fusion at" in line or "CLIENT_SECRET" in line
            if not wanted:
                break
        else:
            raise AssertionError(self.said)
        # Nobody reads on, and a full pipe would hold the server.
        self._reader = threading.Thread(
            target=self._drain, args=(self.process.stdout,), daemon=True
        )
        self._reader.start()
        self.address = re.search(r"Model Fusion at (\S+),", self.said)[1]  # type: ignore[index]
        if not self.key[0]:
            self.key = tuple(re.findall(r"CLIENT_\w+=(\S+)", self.said))  # type: ignore[assignment]
        self.session = requests.Session()
        self.session.auth = self.key

    @staticmethod
    def _drain(output: IO[str]) -> None:
        with output:
            output.read()

    @property
    def url(self) -> str:
        """The address with the credentials in it."""
        return self.address.replace("://", f"://{self.key[0]}:{self.key[1]}@")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self._gone()

    def close(self) -> None:
        self.process.terminate()
        self._gone()

    def _gone(self) -> None:
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def call(self, method: str, path: str, **asked: Any) -> requests.Response:
        return self.session.request(method, self.address + path, timeout=PATIENCE, **asked)

    def start_aggregator(self, model: Path | bytes, **fields: Any) -> requests.Response:
        fields = {"fusion_algorithm": "fedavg", "model_type": "pytorch", "num_parties": 2, **fields}
        content = model.read_bytes() if isinstance(model, Path) else model
        return self.call(
            "POST", "/start-aggregator", data=fields, files={"model_file": ("model", content)}
        )

    def start_party(
        self, aggregator_id: str, data: Path | bytes, handler: str = "npz", **more: Any
    ) -> requests.Response:
        content = data.read_bytes() if isinstance(data, Path) else data
        files = {"data": ("rows", content), **more.pop("files", {})}
        fields = {"aggregator_id": aggregator_id, "data_handler_class_name": handler, **more}
        return self.call("POST", "/start-party", data=fields, files=files)

    def ready(self, model: Path, data: Path, **fields: Any) -> str:
        """Return the id of an aggregator whose parties are all there."""
        answer = self.start_aggregator(model, **fields)
        assert answer.ok, answer.text
        aggregator_id: str = answer.json()["aggregator_id"]
        for _ in range(int(fields.get("num_parties", 2))):
            registered = self.start_party(aggregator_id, data)
            assert registered.ok, registered.text
        return aggregator_id

    def train(self, aggregator_id: str, wait: bool = True) -> requests.Response:
        return self.call(
            "POST",
            "/train",
            params={"wait": str(wait).lower()},
            json={"aggregator_id": aggregator_id},
        )

    def status(self, aggregator_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/status/{aggregator_id}")
        assert answer.ok, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def stop(self, aggregator_id: str) -> requests.Response:
        return self.call("POST", "/stop", json={"aggregator_id": aggregator_id})


@contextlib.contextmanager
def serving(state: Path, *options: str) -> Iterator[Server]:
    server = Server(state, *options)
    try:
        yield server
    finally:
        server.kill()


def save_rows(path: Path, start: int = 0, count: int = 60, **other: Any) -> Path:
    """Write some digits as a party's file: images of 28 x 28 bytes, and labels."""
    (x, y), _ = image_datasets.Digits().get_data()
    images = (x[start : start + count, 0] * 255).astype(np.uint8)
    np.savez(path, **{"x_train": images, "y_train": y[start : start + count], **other})
    return path


def save_model(path: Path) -> Path:
    """Write a small PyTorch model for these rows, with rows as the handler npz gives them."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10)), path)
    return path


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a condition holds, and fail where that takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
