"""The process in which one aggregator trains: `python -m fusion_nb.service.processes.training
FOLDER`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from fusion_nb.core import history
from fusion_nb.core.files import storage
from fusion_nb.core.run_control import RunControl
from fusion_nb.errors import FusionError, RunError, Stopped
from fusion_nb.runs.checkpoints.resume import SavedSpec
from fusion_nb.runs.handle import ENDED
from fusion_nb.runs.run import Run
from fusion_nb.service.errors import to_wire
from fusion_nb.service.mail import engine
from fusion_nb.service.mail.link import boxes_of
from fusion_nb.service.processes import sandbox
from fusion_nb.service.storage.round_files import round_of
from fusion_nb.service.storage.run_folder import RunFolder

#: Seconds between two pulses at least.
_PULSE_SECONDS = 1.0


class Pulse:
    """Tells the server that a batch has ended, at most once a second.

    channel: file descriptor that the server reads
    """

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._last = 0.0

    def __call__(self) -> None:
        """Send a byte, unless the last one is less than a second old."""
        now = time.monotonic()
        if now - self._last > _PULSE_SECONDS:
            self._last = now
            # If the server is gone, the thread that reads its commands ends this process.
            with contextlib.suppress(OSError):
                os.write(self._channel, b".")


class RoundWriter:
    """Writes each round of a run into its folder, in the thread that trains.

    Of a run that goes on, the rounds that the folder has already are not written again.
    error: the error that ended the writing, or None
    """

    def __init__(self, folder: RunFolder) -> None:
        self.error: BaseException | None = None
        self._folder = folder
        lines, _ = folder.rounds.records()
        self._line = lines[-1] if lines else ""
        self._num_written = round_of(self._line) if lines else 0

    def __call__(self, run: Run) -> None:
        """Write the new rounds. An error stops the run, because its rounds would be lost."""
        if self.error is not None:
            return
        try:
            self._write(run)
        except BaseException as error:
            self.error = error
            run.stop(wait=False)

    def _write(self, run: Run) -> None:
        records = run.records
        for record in records[self._num_written :]:
            if not self._num_written:
                path = Path(sandbox.relative(self._folder.trained))
                run.write(path, self._folder.about["whole_format"])
            best = records.best(run.prepared.monitor)
            is_best = best is not None and best.round == record.round
            self._line = json.dumps(history.to_dict(record), allow_nan=False)
            self._folder.rounds.save(record.round, self._line, run.weights, is_best)
            self._num_written = record.round
        if run.status in ENDED and self._num_written:
            line = json.dumps(history.to_dict(records[-1]))
            if line != self._line:  # post-training has added metrics to the last record
                self._folder.rounds.add(line)


class StdinCommands:
    """Reads the server's commands from standard input: `stop`, or its end, which ends the process.

    A stop that comes while data is read stops the run as soon as it is started.
    """

    def __init__(self) -> None:
        self._run: Run | None = None
        self._is_stopped = False
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def check(self) -> None:
        """Raise Stopped once a stop has come, where no run is there yet to be stopped."""
        if self._is_stopped:
            raise Stopped

    def start(self, run: Run) -> None:
        """Start a run, and stop it at once if a stop has come before."""
        with self._lock:
            self._run = run
            run.start()
            if self._is_stopped:
                run.stop(wait=False)

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                with self._lock:
                    self._is_stopped = True
                    if self._run is not None:
                        self._run.stop(wait=False)
        # The server was killed. The next one trains the aggregator anew, so that neither this
        # process nor its descendants may write any more.
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


class CheckpointUnusable(Exception):
    """A run that was cut short can't go on from its checkpoint. The text says why."""


def make_run(folder: RunFolder, control: RunControl) -> Run:
    """Return the run of an aggregator, which goes on after its checkpoint where there is one.

    Raises CheckpointUnusable for a checkpoint that can't be read, or is of other rows.
    """
    spec, namespace = sandbox.spec_and_namespace(folder)
    checkpoint = folder.checkpoint
    # One process at a time trains the aggregator: the lock is of one that was killed, perhaps on a
    # machine of another name.
    checkpoint.break_lock()
    # More than by default are kept, so that each round has one: `RoundWriter` writes the weights of
    # a round that was not told, and those of the latest checkpoint have to be of that round.
    saved_in = {"checkpoint": f"{sandbox.relative(checkpoint.path)}:keep=3"}
    make = partial(Run, control=control)
    if not folder.has_checkpoint:
        return make(spec.model_copy(update=saved_in), namespace, name="run")
    saved = None
    try:
        saved = SavedSpec.read(checkpoint.path, saved_in)
        return saved.make_run(namespace, make=make)
    except (FusionError, ValueError, TypeError, LookupError, RecursionError) as error:
        if _cause_on_disk(error):
            raise  # a full disk damages no checkpoint
        if saved is not None and folder.keeps_rows and _is_of_parties(error):
            raise  # nor does a party that is not there
        public = sandbox.to_public_error(error, folder).message
        raise CheckpointUnusable(public.replace(f"{folder.path}{os.sep}", "")) from error


def _is_of_parties(error: Exception) -> bool:
    """Return whether a run can't go on because of its parties, whose rows are the same."""
    return isinstance(error, FusionError) and error.option not in ("data", "checkpoint")


def _cause_on_disk(error: BaseException) -> OSError | None:
    """Return the system's error behind a checkpoint that could not be written, whose own message
    names the server's folder.
    """
    is_of_checkpoint = isinstance(error, RunError) and error.option == "checkpoint"
    cause = error.__context__
    return cause if is_of_checkpoint and isinstance(cause, OSError) else None


def train(folder: RunFolder, pulse: Pulse) -> dict[str, Any]:
    """Train an aggregator, and return the outcome."""
    commands = StdinCommands()

    def gate() -> None:
        pulse()
        commands.check()

    try:
        if folder.keeps_rows:
            engine.register(boxes_of(folder.registered()), gate)
        run = make_run(folder, RunControl(on_gate=pulse))
        writer = RoundWriter(folder)
        run.subscribe(writer)
        begun = {
            "notes": run.notes,
            "planned": run.planned,
            "shown": list(run.chart_metrics),
            "monitor": run.prepared.monitor,
        }
        storage.write_json(folder.path / "begun.json", begun)
        commands.start(run)
        run.wait()
        if writer.error is not None:
            raise writer.error
    except Stopped:
        return {"state": "stopped", "reason": ""}
    except CheckpointUnusable as error:
        traceback.print_exc()
        return {"state": "interrupted", "reason": str(error)}
    except BaseException as error:
        traceback.print_exc()
        cause = _cause_on_disk(error) or error
        return {"state": "failed", **to_wire(sandbox.to_public_error(cause, folder))}
    return {"state": run.status, "reason": run.reason}


def main(path: str, max_memory: str = "0") -> None:
    """Train the aggregator of a folder, and write the outcome there."""
    sandbox.limit_process(int(max_memory))
    pulse = Pulse(sandbox.open_channel())
    folder = RunFolder(Path(path).resolve())
    os.chdir(folder.path)
    outcome = train(folder, pulse)
    try:
        storage.write_json(folder.path / "outcome.json", outcome)
    except OSError as error:
        # The status says why there is no outcome: a full disk takes none.
        sys.exit(error.errno)
    sys.stderr.flush()
    os._exit(0)  # frameworks take seconds to shut down, and everything is on disk


if __name__ == "__main__":
    main(*sys.argv[1:])
