"""Writers of checkpoints: one before a round is told, and one beside the training of the next."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import FusionError
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint, line_of
from fusion_nb.runs.checkpoints.folder import CheckpointFolder, cannot_write

#: Writing beside the training takes at most this share of a core.
_SHARE = 0.01

#: Returns the SHA-256 of a run's rows.
HashRows = Callable[[], Mapping[str, str]]


class CheckpointWriter(ABC):
    """Writes the checkpoints of a run.

    folder: where they are written;  hash_rows: called once, in a thread;  is_fresh: whether the run
    begins, so that checkpoints of an earlier one are replaced
    """

    def __init__(
        self, folder: CheckpointFolder, hash_rows: HashRows, *, keep: int, is_fresh: bool
    ) -> None:
        self.folder = folder
        #: Warnings for the user.
        self.notes: list[str] = []
        self._keep, self._is_fresh = keep, is_fresh
        self._rows = _Once(hash_rows)
        self._lines: list[tuple[RoundRecord, bytes]] = []
        self._saved = 0

    @abstractmethod
    def begin(self) -> None:
        """Get ready to write. Raises RunError where that is impossible and the run can't go on."""

    @abstractmethod
    def add(self, checkpoint: Checkpoint, *, is_due: bool) -> None:
        """Take the checkpoint of a whole round.

        is_due: write it, and do not only keep it for the end of the run
        Raises RunError where it can't be written and the run can't go on.
        """

    @abstractmethod
    def end(self) -> None:
        """Write the last whole round, if it is not written yet, and let others use the folder."""

    def _write(self, checkpoint: Checkpoint) -> Path:
        whole = replace(checkpoint, rows=self._rows())
        path = self.folder.write(whole, self._encoded(whole), self._keep)
        self._saved, self._is_fresh = whole.round, False
        return path

    def _encoded(self, checkpoint: Checkpoint) -> Iterator[bytes]:
        """Return the lines of all records; those of earlier checkpoints were encoded before."""
        lines, history = self._lines, checkpoint.snapshot.history
        for number, record in enumerate(history):
            if number == len(lines):
                lines.append((record, line_of(record)))
            elif lines[number][0] is not record:
                lines[number] = (record, line_of(record))
        return (line for _, line in lines[: len(history)])


class WriterBefore(CheckpointWriter):
    """Writes each checkpoint before its round is told. A run that can't be saved ends."""

    _latest: Checkpoint | None = None

    def begin(self) -> None:
        """Take the folder, and hash the rows beside the first round."""
        try:
            self.folder.acquire(fresh=self._is_fresh)
        except OSError as error:
            raise cannot_write(self._saved + 1, self.folder.path, error) from None
        self._rows.start()

    def add(self, checkpoint: Checkpoint, *, is_due: bool) -> None:
        """Write a checkpoint that is due."""
        self._latest = checkpoint
        if is_due:
            try:
                self._write(checkpoint)
            except OSError as error:
                raise cannot_write(checkpoint.round, self.folder.path, error) from None

    def end(self) -> None:
        """Write the last whole round where it was not due, and release the folder."""
        latest, self._latest = self._latest, None
        try:
            if latest is not None and latest.round != self._saved:
                self._write(latest)
        except (OSError, FusionError) as error:
            self.notes = [f"warning: round {latest.round if latest else 0} is not saved ({error})"]
        self.folder.release()


class WriterBeside(CheckpointWriter):
    """Writes checkpoints in a thread of its own, the latest first, and at most a share of the time.

    One that can't be written is a note, and the run goes on.
    """

    _thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start the thread."""
        self._changed = threading.Condition()
        self._pending: Checkpoint | None = None
        self._is_ending = self._is_flushed = False
        self._thread = threading.Thread(
            target=self._work, name="fusion_nb checkpoints", daemon=True
        )
        self._thread.start()

    def add(self, checkpoint: Checkpoint, *, is_due: bool) -> None:
        """Let the thread write a checkpoint, in place of an earlier one that still waits."""
        with self._changed:
            self._pending = checkpoint
            self._changed.notify_all()

    def end(self) -> None:
        """Wait until the last whole round is written, and release the folder."""
        if self._thread is None:
            return
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
        self._thread.join()
        self._thread = None

    def _work(self) -> None:
        try:
            self.folder.acquire(fresh=self._is_fresh)
            self._rows()
            while (checkpoint := self._next()) is not None:
                began = time.thread_time()
                self._write(checkpoint)
                self._rest((time.thread_time() - began) / _SHARE)
        except (OSError, FusionError) as error:
            why = error.message if isinstance(error, FusionError) else error.strerror or error
            self.notes = [f"warning: this run has no checkpoint any more ({why})"]
        except Exception as error:
            self.notes = [f"warning: this run has no checkpoint any more ({error!r})"]
        self.folder.release()

    def _next(self) -> Checkpoint | None:
        """Return the checkpoint to write, as soon as there is one; None at the end."""
        with self._changed:
            while self._pending is None and not self._is_ending:
                self._changed.wait()
            found, self._pending = self._pending, None
            return found

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_ending, seconds)


class _Once:
    """A function that is called once, in the thread that needs it first or in one of its own."""

    def __init__(self, function: HashRows) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._found: Mapping[str, str] | None = None

    def start(self) -> None:
        """Call it in a thread, so that the result is there when it is needed."""
        if self._found is None:
            threading.Thread(target=self, name="fusion_nb rows", daemon=True).start()

    def __call__(self) -> Mapping[str, str]:
        """Return its result."""
        with self._lock:
            if self._found is None:
                self._found = self._function()
            return self._found
