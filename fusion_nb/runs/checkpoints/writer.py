"""Writers of checkpoints, in a thread beside the training; here the one that no round waits for."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace

from fusion_nb.errors import FusionError
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.checkpoints.folder import CheckpointFolder

#: Writing that no round waits for takes at most this share of a core.
_SHARE = 0.005

#: Returns the SHA-256 of a run's rows.
HashRows = Callable[[], Mapping[str, str]]


class CheckpointWriter(ABC):
    """Writes the checkpoints of a run.

    folder: where they are written;  hash_rows: called once, in a thread;  is_fresh: whether the run
    begins, so that checkpoints of an earlier one are replaced
    """

    #: The error that ended the writing, where the run has to end for it.
    failure: BaseException | None = None

    def __init__(
        self, folder: CheckpointFolder, hash_rows: HashRows, *, keep: int, is_fresh: bool
    ) -> None:
        self.folder = folder
        #: Warnings for the user.
        self.notes: list[str] = []
        self._keep, self._is_fresh = keep, is_fresh
        self._rows = _Once(hash_rows)
        self._saved = 0

    @abstractmethod
    def begin(self, on_failure: Callable[[], object]) -> None:
        """Get ready to write. Raises RunError where that is impossible and the run can't go on.

        on_failure: called where a checkpoint can't be written and the run can't go on
        """

    @abstractmethod
    def add(self, checkpoint: Checkpoint, tell: Callable[[], object], *, is_due: bool) -> None:
        """Take the checkpoint of a whole round, and call `tell` once it is where it should be.

        is_due: write it, and do not only keep it for the end of the run
        """

    @abstractmethod
    def settle(self) -> None:
        """Wait until all rounds are told, or can't be."""

    @abstractmethod
    def end(self) -> None:
        """Write the last whole round, if it is not written yet, and let others use the folder."""

    def _write(self, checkpoint: Checkpoint) -> None:
        self.folder.write(replace(checkpoint, rows=self._rows()), self._keep)
        self._saved, self._is_fresh = checkpoint.round, False


class WriterBeside(CheckpointWriter):
    """Writes the latest checkpoint from time to time, at most a share of the time, and tells each
    round at once.

    One that can't be written is a note, and the run goes on.
    """

    _thread: threading.Thread | None = None

    def begin(self, on_failure: Callable[[], object]) -> None:
        """Start the thread."""
        self._changed = threading.Condition()
        self._pending: Checkpoint | None = None
        self._is_ending = self._is_flushed = False
        self._thread = threading.Thread(
            target=self._work, name="fusion_nb checkpoints", daemon=True
        )
        self._thread.start()

    def add(self, checkpoint: Checkpoint, tell: Callable[[], object], *, is_due: bool) -> None:
        """Let the thread write a checkpoint, in place of an earlier one that still waits."""
        with self._changed:
            self._pending = checkpoint
            self._changed.notify_all()
        tell()

    def settle(self) -> None:
        """Return at once: rounds are told as soon as they are whole."""

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
        began = time.monotonic()
        try:
            self.folder.acquire(fresh=self._is_fresh)
            self._rows()
            while (checkpoint := self._next()) is not None:
                self._write(checkpoint)
                # All that this thread has done counts, the hashes of the rows too.
                self._rest_until(began + time.thread_time() / _SHARE)
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

    def _rest_until(self, moment: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_ending, max(0, moment - time.monotonic()))


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
