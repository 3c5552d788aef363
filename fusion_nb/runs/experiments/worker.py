"""The body of a worker process of an experiment: it trains the trials that it is sent."""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from fusion_nb.core import registry
from fusion_nb.core.history import History
from fusion_nb.core.process import framework_settings
from fusion_nb.core.run_control import RunControl
from fusion_nb.runs.experiments import processes, training
from fusion_nb.runs.experiments.spec import Point
from fusion_nb.runs.experiments.training import Workshop
from fusion_nb.runs.experiments.trial import Trial


class TrialWorker:
    """Trains one trial after the other for another process.

    setup: what all trials share;  send: takes a message for that process
    """

    def __init__(self, setup: Mapping[str, Any], send: Callable[[object], object]) -> None:
        framework_settings.take(setup["settings"])
        for kind, names in setup["components"].items():
            for name, implementation in names.items():
                registry.register(kind, name, implementation)
        self._workshop, self._send = Workshop(setup["names"]), send
        self._control = RunControl()
        self._is_pruned = threading.Event()
        self._num_told = 0

    def begin(self) -> None:
        """Withdraw the orders for the trial before."""
        self._is_pruned.clear()
        self._control.reset()

    def train(self, point: Point, name: str, folder: Path | None) -> None:
        """Train a trial, and send its rounds and its end."""
        trial, weights = Trial(point), None
        try:
            run = self._workshop.make(point, name, self._control, folder)
            self._num_told = 0
            training.train(run, trial, self._prunes, functools.partial(self._tell, trial))
            weights = run.weights if trial.status == "finished" else None
        except Exception as error:
            trial.status, trial.reason = "failed", training.line_of(error)
        if self._is_pruned.is_set() and trial.status == "stopped":
            trial.status, trial.reason = "pruned", f"pruned after round {len(trial.records)}"
        self._tell(trial)
        self._send((processes.END, trial.status, trial.reason, trial.facts, weights))

    def order(self, kind: str) -> None:
        """Stop, hold or prune the trial, or let it go on. Called while it trains."""
        actions = {
            processes.STOP: self._control.stop,
            processes.PAUSE: self._control.pause,
            processes.RESUME: self._control.resume,
            processes.PRUNE: self._prune,
        }
        actions[kind]()

    def _tell(self, trial: Trial) -> None:
        """Send the rounds that are new."""
        new = History(trial.records[self._num_told :])
        self._num_told = len(trial.records)
        if new:
            self._send((processes.ROUND, list(new), trial.facts))

    def _prunes(self, history: History) -> bool:
        return self._is_pruned.is_set()

    def _prune(self) -> None:
        self._is_pruned.set()
        self._control.stop()


class _Refused:
    """Stands for the trials where what they share can't be read in this process.

    line: why, in words;  send: takes a message for the other process
    """

    def __init__(self, line: str, send: Callable[[object], object]) -> None:
        self._reason = f"the model or the data can't be read in another process ({line})"
        self._send = send

    def begin(self) -> None:
        """Withdraw nothing."""

    def train(self, *asked: object) -> None:
        """Tell that a trial has failed, and why."""
        self._send((processes.END, "failed", self._reason, None, None))

    def order(self, kind: str) -> None:
        """Do nothing: no trial is under way."""


class Worker:
    """Answers the process that started this one, until that is gone.

    into, out: its messages, and those to it
    """

    def __init__(self, into: BinaryIO, out: BinaryIO) -> None:
        self._into = into
        send = functools.partial(processes.write_message, out)
        self._trials: TrialWorker | _Refused
        try:
            _, setup = processes.read_message(into)
            self._trials = TrialWorker(setup, send)
        except EOFError:
            raise
        except Exception as error:
            self._trials = _Refused(training.line_of(error), send)
        self._orders: SimpleQueue[Any] = SimpleQueue()

    def serve(self) -> None:
        """Train what is asked for."""
        threading.Thread(target=self._listen, daemon=True).start()
        while (order := self._orders.get()) is not None:
            self._trials.train(*order[1:])

    def _listen(self) -> None:
        """Read all messages; a worker whose starter is gone ends at once."""
        while True:
            try:
                message = processes.read_message(self._into)
            except (EOFError, OSError):
                os._exit(0)
            if message[0] == processes.TRAIN:
                self._trials.begin()
                self._orders.put(message)
            else:
                self._trials.order(message[0])


def main() -> None:
    """Serve over standard input and output.

    A run that prints writes to standard error, and one that reads finds the end of its input.
    """
    into, out = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    with suppress(EOFError):  # its starter was gone before it began
        Worker(into, out).serve()


if __name__ == "__main__":
    main()
