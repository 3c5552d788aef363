"""Trains the trials of an experiment beside each other, each in a worker process."""

from __future__ import annotations

import io
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from fusion_nb.core import registry
from fusion_nb.core.history import History
from fusion_nb.core.process import framework_settings
from fusion_nb.errors import OptionError, option
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.here import keep_best
from fusion_nb.runs.experiments.spec import ExperimentSpec
from fusion_nb.runs.experiments.training import Prunes, TrialControl, prune
from fusion_nb.runs.experiments.trial import Facts, Trial

#: Seconds between two looks at whether the experiment is paused or stopped.
_LOOK_SECONDS = 0.05
#: Seconds that a worker has to end its batch after a stop.
_STOP_SECONDS = 30.0
#: Messages of a worker: it is ready, a whole round, the end of a trial.
READY, ROUND, END = "ready", "round", "end"
#: Messages to a worker: what all trials share, a trial, and what its control is asked.
SETUP, TRAIN, STOP, PAUSE, RESUME, PRUNE = "setup", "train", "stop", "pause", "resume", "prune"
#: Variables that IPython puts into every notebook.
_OF_IPYTHON = ("In", "Out", "exit", "quit", "open", "get_ipython")
_HEAD = struct.Struct("<Q")


def write_message(stream: BinaryIO, message: object) -> None:
    """Write a message with its length. Classes and functions that a cell defines travel in it."""
    import cloudpickle

    buffer = io.BytesIO()
    cloudpickle.dump(message, buffer)
    stream.write(_HEAD.pack(buffer.tell()))
    stream.write(buffer.getbuffer())
    stream.flush()


def read_message(stream: BinaryIO) -> Any:
    """Return the next message. Raises EOFError where the other end is gone."""
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError
    (size,) = _HEAD.unpack(head)
    body = stream.read(size)
    if len(body) < size:
        raise EOFError
    return pickle.loads(body)  # of a process that this one started, or that started this one


def trainers(
    spec: ExperimentSpec,
    namespace: Mapping[str, Any],
    folder: ExperimentFolder | None,
    trials: Sequence[Trial],
    packages: Collection[str],
) -> list[WorkerProcess]:
    """Return as many worker processes as the experiment asks for, and not more than it has runs.

    packages: see `packed_setup`
    Raises OptionError for a model or data that can't be sent to another process.
    """
    packed = packed_setup(spec, namespace, packages)
    made = [WorkerProcess(packed, folder, trials) for _ in range(min(spec.workers or 1, spec.size))]
    for worker in made:  # they begin beside each other
        worker.launch()
    return made


def packed_setup(
    spec: ExperimentSpec, namespace: Mapping[str, Any], packages: Collection[str]
) -> bytes:
    """Return a message with all that trials share.

    packages: those that the model needs, whose settings in this process go along
    Raises OptionError for a model or data that can't be sent to another process.
    """
    import cloudpickle

    setup = {
        "names": needed_names(spec, namespace),
        "components": {kind: registry.registered(kind) for kind in registry.KINDS},
        "path": list(sys.path),
        "settings": framework_settings.found(packages),
    }
    try:
        packed: bytes = cloudpickle.dumps((SETUP, setup))
    except Exception as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OptionError(
            f"{option('workers', spec.cluster or spec.workers)}: the model or the data can't be "
            f"sent to another process ({line})",
            f"leave {option('workers')} out, which trains here",
        ) from error
    return packed


def needed_names(spec: ExperimentSpec, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that the options, or the cell's body, name."""
    options = {**spec.first().model_dump(), **spec.options}
    texts = [str(value) for value in options.values()]
    texts += [str(value) for several in spec.vary.values() for value in several]
    words = {word for text in texts for word in re.findall(r"[A-Za-z_]\w*", text)}
    return {
        word: namespace[word] for word in words if word in namespace and word not in _OF_IPYTHON
    }


class Followed:
    """A trial that another process trains, as its messages tell of it.

    prunes: says after a round whether the trial is to end;  prune: asks the process to end it
    """

    def __init__(
        self,
        trial: Trial,
        prunes: Prunes,
        told: Callable[[], object],
        prune: Callable[[], object],
    ) -> None:
        self._trial, self._prunes, self._told, self._prune = trial, prunes, told, prune
        self._pruned_after = self._num_received = 0

    def has_ended(self, message: Any) -> bool:
        """Take over a message, and return whether it is the last one of the trial."""
        kind, *parts = message
        trial = self._trial
        if kind == ROUND:
            records, trial.facts = parts
            self._num_received += len(records)
            for record in () if self._pruned_after else records:
                trial.records = History([*trial.records, record])
                if self._prunes(trial.records):
                    self._pruned_after = len(trial.records)
                    self._prune()
                    break
            self._told()
        elif kind == END:
            trial.status, trial.reason, facts, trial.weights = parts
            trial.facts = facts if isinstance(facts, Facts) else trial.facts
            # Or it was whole before it could be ended.
            is_whole = trial.status == "finished" and self._num_received > self._pruned_after > 0
            if trial.status == "pruned" or is_whole:
                prune(trial, self._pruned_after)
        return bool(kind == END)


class WorkerProcess:
    """One worker process, which trains one trial at a time; the curve is that of this process.

    packed: what all trials share;  folder: where those under way are saved, or None
    trials: all of the experiment: the weights of the best one are kept, and no others
    It is started by `launch`, or by the first trial. One that ends unexpectedly makes its trial one
    that failed, and is started again.
    """

    def __init__(
        self, packed: bytes, folder: ExperimentFolder | None, trials: Sequence[Trial]
    ) -> None:
        self._packed, self._folder, self._trials = packed, folder, trials
        self._process: subprocess.Popen[bytes] | None = None
        self._starting, self._is_closed = threading.Lock(), False
        self._lock = threading.Lock()  # for messages of several threads
        self._stdin: Any = None
        self._stdout: Any = None

    def train(
        self, trial: Trial, control: TrialControl, prunes: Prunes, told: Callable[[], object]
    ) -> None:
        """Train a trial to its end."""
        folder = self._folder.of_run(trial) if self._folder is not None else None
        self.follow(trial, folder, control, prunes, told)
        keep_best(self._trials, trial)

    def follow(
        self,
        trial: Trial,
        folder: Path | None,
        control: TrialControl,
        prunes: Prunes,
        told: Callable[[], object],
    ) -> None:
        """Train a trial, which may be none of the experiment, to its end.

        folder: where it is saved, or None
        """
        if self._process is None:
            self.launch()
        trial.status, trial.records = "running", History()
        told()
        followed = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(control, followed), daemon=True)
        try:
            self._send((TRAIN, trial.point, trial.name, folder))
            watcher.start()
            messages = Followed(trial, prunes, told, lambda: self._send((PRUNE,)))
            while not messages.has_ended(read_message(self._stdout)):
                """Each message is taken over as it comes."""
        except (EOFError, OSError):
            code = self._end()
            trial.status, trial.reason = "failed", f"its worker process ended (exit code {code})"
        finally:
            followed.set()
            if watcher.is_alive():
                watcher.join()
        if control.is_stopping and trial.status == "failed":
            trial.status = "stopped"

    def close(self) -> None:
        """End the process for good, also while another thread waits for it."""
        with self._starting:
            self._is_closed = True
        self._end()

    def _watch(self, control: TrialControl, followed: threading.Event) -> None:
        """Hold or stop the worker with the experiment."""
        is_held = False
        while not followed.wait(_LOOK_SECONDS):
            try:
                if control.is_stopping:
                    self._send((STOP,))
                    break
                if control.is_paused != is_held:
                    is_held = control.is_paused
                    self._send((PAUSE if is_held else RESUME,))
            except (OSError, EOFError):
                return
        process = self._process
        if not followed.wait(_STOP_SECONDS) and process is not None:
            _kill(process)

    def _send(self, message: object) -> None:
        with self._lock:
            if self._process is None:
                raise EOFError
            write_message(self._stdin, message)

    def launch(self) -> None:
        """Start the process, and give it what all trials share. Raises EOFError after `close`."""
        with self._starting:
            if self._is_closed:
                raise EOFError
            # It has a session of its own: an interrupt is for the experiment, which stops its
            # trials.
            process = subprocess.Popen(
                [sys.executable, "-m", "fusion_nb.runs.experiments.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
            self._stdin, self._stdout = process.stdin, process.stdout
            self._process = process
        with suppress(OSError):  # it is noticed when a trial is asked for
            self._stdin.write(_HEAD.pack(len(self._packed)))
            self._stdin.write(self._packed)
            self._stdin.flush()

    def _end(self) -> int:
        with self._starting:
            process, self._process = self._process, None
        if process is None:
            return 0
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
        code = process.poll()
        _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        return process.returncode if code is None else code


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a worker and the processes that it started, which would hold its pipes open."""
    if hasattr(os, "killpg"):
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
