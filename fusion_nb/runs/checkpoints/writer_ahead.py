"""The writer of checkpoints that rounds wait for: each is told once it is safe on the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fusion_nb.core.process import cell_output
from fusion_nb.errors import FusionError
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.checkpoints.folder import CheckpointFolder, cannot_write
from fusion_nb.runs.checkpoints.option import CheckpointOption
from fusion_nb.runs.checkpoints.writer import CheckpointWriter, HashRows

#: Seconds from the beginning of a checkpoint to that of the next, at least: a disk takes some 20
#: milliseconds for one, and rounds may be quicker than that.
SECONDS_APART = 0.5
#: Where states are large it is more, so that writing takes this share of a core; but never more
#: seconds than these, since rounds are told that late.
SHARE, MOST_SECONDS_APART = 0.01, 2.0


@dataclass(frozen=True)
class _Untold:
    """A whole round that is not told yet.

    checkpoint: to be written before it is told, or None where that of a later round is enough
    """

    round: int
    tell: Callable[[], object]
    is_due: bool
    checkpoint: Checkpoint | None


class WriterAhead(CheckpointWriter):
    """Writes each checkpoint while the next rounds are trained, and tells its rounds after that.

    A round is told in the thread that writes, as soon as it is safe: the training thread is busy
    then, for minutes where rounds are long. Quick rounds share a checkpoint, that of the last of
    them, unless more checkpoints are kept than by default. Training is ahead of what is told by one
    round, or by the rounds of half a second (of two, where writing takes long), so that little is
    trained in vain where the disk is full or slow. A run that can't be saved ends.
    """

    _thread: threading.Thread | None = None
    _latest: Checkpoint | None = None

    def __init__(
        self, folder: CheckpointFolder, hash_rows: HashRows, *, keep: int, is_fresh: bool
    ) -> None:
        super().__init__(folder, hash_rows, keep=keep, is_fresh=is_fresh)
        self._seconds_apart = SECONDS_APART if keep <= CheckpointOption.keep else 0.0
        self._queue = _Queue()

    def begin(self, on_failure: Callable[[], object]) -> None:
        """Take the folder, hash the rows beside the first round, and start the thread."""
        try:
            self.folder.acquire(fresh=self._is_fresh)
        except OSError as error:
            raise cannot_write([self._saved + 1], self.folder.path, error) from None
        self._rows.start()
        self._on_failure = on_failure
        self._queue = _Queue()
        self._thread = threading.Thread(
            target=self._work,
            args=(cell_output.bind_output(),),
            name="fusion_nb checkpoints",
            daemon=True,
        )
        self._thread.start()

    def add(self, checkpoint: Checkpoint, tell: Callable[[], object], *, is_due: bool) -> None:
        """Hand a round to the thread, once it is not too far behind."""
        self._queue.wait_for_room()
        self._latest = checkpoint
        if self.failure is None:
            self._queue.add(_Untold(checkpoint.round, tell, is_due, checkpoint if is_due else None))

    def settle(self) -> None:
        """Let all rounds that were handed over be written; wait until they are told or can't be."""
        if self._thread is not None:
            self._queue.wait_until_empty()

    def end(self) -> None:
        """Write the last whole round where it was not due, and release the folder."""
        if self._thread is not None:
            self._queue.end()
            self._thread.join()
            self._thread = None
        latest, self._latest, self.failure = self._latest, None, None
        try:
            if latest is not None and latest.round != self._saved:
                self._write(latest)
        except (OSError, FusionError) as error:
            self.notes = [f"warning: round {latest.round if latest else 0} is not saved ({error})"]
        self.folder.release()

    def _work(self, bind_output: Callable[[], None]) -> None:
        bind_output()
        while rounds := self._queue.take(self._seconds_apart):
            begun = time.thread_time()
            try:
                self._write_due(rounds)
                self._keep_apart(time.thread_time() - begun)
                for untold in rounds:
                    untold.tell()
            except BaseException as error:  # the training thread raises it
                self.failure = error
            if self.failure is not None:
                self._on_failure()
            self._queue.is_done(drops_others=self.failure is not None)

    def _keep_apart(self, spent: float) -> None:
        """Set how far checkpoints begin apart, by the processor's seconds that one took."""
        if self._seconds_apart:
            self._seconds_apart = max(SECONDS_APART, min(MOST_SECONDS_APART, spent / SHARE))

    def _write_due(self, rounds: Sequence[_Untold]) -> None:
        found = [untold.checkpoint for untold in rounds if untold.checkpoint is not None]
        if not found:
            return
        (checkpoint,) = found
        try:
            self._write(checkpoint)
        except OSError as error:
            numbers = [untold.round for untold in rounds if untold.is_due]
            raise cannot_write(numbers, self.folder.path, error) from None


class _Queue:
    """The rounds that are not told yet: they wait until their checkpoint is to be written."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[_Untold] = []
        self._is_writing = self._is_ending = False
        #: Threads that wait until it is empty, and when the next checkpoint may begin.
        self._num_urgent, self._next_at = 0, 0.0

    def wait_for_room(self) -> None:
        """Wait until all is told, unless the checkpoint before began a moment ago."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_empty or time.monotonic() < self._next_at)

    def add(self, untold: _Untold) -> None:
        """Add a round. The checkpoints of those that wait before it are let go where it has one.

        Each holds the states of all parties, whose memory the next rounds use again.
        """
        with self._changed:
            if untold.checkpoint is not None:
                self._waiting = [replace(before, checkpoint=None) for before in self._waiting]
            self._waiting.append(untold)
            self._changed.notify_all()

    def wait_until_empty(self) -> None:
        """Let the rounds be taken at once, and wait until they are told or dropped."""
        with self._changed:
            self._num_urgent += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_empty)
            self._num_urgent -= 1

    def end(self) -> None:
        """Let `take` return the rest, and then nothing."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()

    def take(self, seconds_apart: float) -> list[_Untold]:
        """Return the rounds to save and to tell, as soon as it is time; an empty list at the end.

        seconds_apart: from the beginning of a checkpoint to that of the next, at least
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_ending)
            self._changed.wait_for(self._is_pressing, max(0, self._next_at - time.monotonic()))
            found, self._waiting = self._waiting, []
            self._is_writing = bool(found)
            if any(untold.is_due for untold in found):
                self._next_at = time.monotonic() + seconds_apart
                self._changed.notify_all()  # there is room again
            return found

    def is_done(self, *, drops_others: bool) -> None:
        """Say that the rounds which were taken are told, or can't be.

        drops_others: those that came meanwhile can't be told either
        """
        with self._changed:
            self._is_writing = False
            if drops_others:
                self._waiting = []
            self._changed.notify_all()

    @property
    def _is_empty(self) -> bool:
        return not (self._waiting or self._is_writing)

    def _is_pressing(self) -> bool:
        is_due = any(untold.is_due for untold in self._waiting)
        return not is_due or self._num_urgent > 0 or self._is_ending
