"""The thread of a tracker, which no training waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from fusion_nb.core.process import cell_output
from fusion_nb.core.protocols.tracker import TrackedEnd, TrackedRun, Tracker
from fusion_nb.core.types import Metrics, RoundRecord
from fusion_nb.runs.trackers import facts

#: The next task of the thread, and for which round. The last one ends the thread.
_Job = tuple[Callable[[], object], int]
_LAST = -1


class TrackerQueue:
    """Gives a tracker its calls in order, in a thread of its own.

    text: as the option `log` has it
    After an error it gives none any more, and `problem` says why.
    """

    def __init__(self, text: str, tracker: Tracker) -> None:
        self.text, self.tracker = text, tracker
        self.problem = ""
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self, run: TrackedRun) -> None:
        """Begin to store a run."""
        self._jobs = SimpleQueue()
        self._thread = threading.Thread(
            target=self._work,
            args=(self._jobs, self._thread, cell_output.bind_output()),
            name=f"fusion_nb tracker {self.text}",
            daemon=True,  # a server that never answers must not keep a process alive
        )
        self._thread.start()
        self._put(lambda: self.tracker.start(run), 0)

    def log(self, record: RoundRecord, num_parties: int) -> None:
        """Store a round."""
        metrics: Metrics = facts.of_round(record, num_parties, self.tracker.parties)
        self._put(lambda: self.tracker.log(record.round, metrics), record.round)

    def end(self, ending: TrackedEnd, done: Callable[[], object]) -> None:
        """Store the end of a training, call `done`, and let the thread end."""
        self._put(lambda: self.tracker.end(ending), 0)
        self._jobs.put((done, _LAST))

    def join(self, seconds: float) -> bool:
        """Wait until all is stored, or so long; return whether it is."""
        if self._thread is not None:
            self._thread.join(seconds)
        return self._thread is None or not self._thread.is_alive()

    def _put(self, call: Callable[[], object], round: int) -> None:
        if not self.problem:
            self._jobs.put((call, round))

    def _work(
        self,
        jobs: SimpleQueue[_Job],
        before: threading.Thread | None,
        bind_output: Callable[[], None],
    ) -> None:
        bind_output()
        if before is not None:
            before.join()
        round = 0
        while round != _LAST:
            call, round = jobs.get()
            if round == _LAST:
                call()
            elif not self.problem:
                self._try(call, round)

    def _try(self, call: Callable[[], object], round: int) -> None:
        try:
            call()
        except BaseException as error:  # a package may even exit
            line = str(error).strip().partition("\n")[0] or type(error).__name__
            where = f" at round {round}" if round else ""
            self.problem = f"{type(error).__name__}: {line[:200]}{where}"
