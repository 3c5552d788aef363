"""Runs that trackers follow in tests, and a tracker that writes down its calls."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch

import fusion_nb
from fusion_nb.core.protocols import TrackedEnd, TrackedRun, Tracker
from fusion_nb.core.types import Metrics

ROWS = (
    np.random.default_rng(0).normal(size=(80, 3)).astype("float32"),
    np.arange(80) % 2,
)


def model() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 2))


def federate(**options: Any) -> fusion_nb.Run:
    """Return a run of a small model over two parties."""
    return fusion_nb.federate(model(), ROWS, **{"parties": 2, "rounds": 3} | options)


class Written(Tracker):
    """Writes down its calls, and fails or waits where it is told to."""

    def __init__(self, *, parties: int = 20, fails: str = "", waits: str = "") -> None:
        self.parties, self.fails, self.waits = parties, fails, waits
        self.calls: list[tuple[Any, ...]] = []
        self.threads: set[threading.Thread] = set()
        self.files: list[str] = []
        self.may_go_on = threading.Event()
        MADE.append(self)

    def _called(self, name: str, *arguments: Any) -> None:
        self.threads.add(threading.current_thread())
        self.calls.append((name, *arguments))
        if name == self.waits:
            assert self.may_go_on.wait(60)
        if name == self.fails:
            raise ConnectionError("nobody answers at https://me:secret@host")

    def start(self, run: TrackedRun) -> None:
        self._called("start", run)

    def log(self, round: int, metrics: Metrics) -> None:
        self._called("log", round, metrics)

    def end(self, ending: TrackedEnd) -> None:
        if ending.folder is not None:
            self.files = sorted(path.name for path in ending.folder.iterdir())
        self._called("end", ending)


#: All that were made, the latest last. Those that a check makes are not called.
MADE: list[Written] = []


def called() -> Written:
    """Return the tracker of the latest run."""
    return next(made for made in reversed(MADE) if made.calls)
