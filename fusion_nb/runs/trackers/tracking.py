"""The callback that lets trackers follow a run."""

from __future__ import annotations

import shutil
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from fusion_nb.core.protocols.tracker import Tracker
from fusion_nb.core.types import RoundRecord
from fusion_nb.runs.callbacks.callback import Callback
from fusion_nb.runs.callbacks.chain import CallbackChain
from fusion_nb.runs.callbacks.own import named_callbacks
from fusion_nb.runs.checkpoints.checkpoint import Checkpoint
from fusion_nb.runs.redaction import without_secrets
from fusion_nb.runs.spec import RunSpec
from fusion_nb.runs.trackers import facts
from fusion_nb.runs.trackers.option import make
from fusion_nb.runs.trackers.queue import TrackerQueue

#: Seconds that the end of a run waits at most until everything is stored.
LONGEST_WAIT = 60.0


class Tracking(Callback):
    """Sends a run to its trackers: parameters, each round, and the results at its end.

    trackers: by their texts;  id: of the earlier run that this one continues, or ""
    Only what is saved is sent, so that a resumed run repeats no round.
    """

    after_saving = True

    def __init__(self, trackers: Mapping[str, Tracker], id: str = "") -> None:
        self.id = id or uuid.uuid4().hex
        self._queues = [TrackerQueue(text, tracker) for text, tracker in trackers.items()]
        self._late: list[TrackerQueue] = []

    @property
    def notes(self) -> list[str]:
        """Where the run is found, and one sentence on each tracker that failed."""
        found = [note for queue in self._queues for note in queue.tracker.notes]
        found += [
            f"warning: the tracker {without_secrets(queue.text)} ended: "
            f"{without_secrets(queue.problem)}; the run went on without it"
            for queue in self._queues
            if queue.problem
        ]
        return found + [
            f"the tracker {without_secrets(queue.text)} still writes: the run does not wait for it"
            for queue in self._late
            if not queue.join(0)
        ]

    def on_start(self, run: Any) -> None:
        """Begin to store the run, or go on with it."""
        begun = facts.begun(run, self.id)
        for queue in self._queues:
            queue.start(begun)

    def on_round(self, run: Any, record: RoundRecord) -> None:
        """Store a round."""
        num_parties = len(run.federation.parties)
        for queue in self._queues:
            queue.log(record, num_parties)

    def on_end(self, run: Any) -> None:
        """Store the end, and wait until everything is stored, or for a minute."""
        files = _Files(len(self._queues))
        ending = facts.ended(run, files.folder)
        for queue in self._queues:
            queue.end(ending, files.release)
        end = time.monotonic() + LONGEST_WAIT
        self._late = [
            queue for queue in self._queues if not queue.join(max(0.0, end - time.monotonic()))
        ]


class _Files:
    """A folder that is removed once that number of trackers is done with it."""

    def __init__(self, num_trackers: int) -> None:
        self.folder = Path(mkdtemp(prefix="fusion_nb-"))
        self._num_left, self._lock = num_trackers, threading.Lock()

    def release(self) -> None:
        """Tell that a tracker is done."""
        with self._lock:
            self._num_left -= 1
            if not self._num_left:
                shutil.rmtree(self.folder, ignore_errors=True)


def callbacks_of(
    run: Any, spec: RunSpec, namespace: Mapping[str, Any], earlier: Checkpoint | None
) -> tuple[CallbackChain, str]:
    """Return the callbacks that a spec asks for, and the id by which trackers know the run, or "".

    namespace: where functions are looked up;  earlier: the run that is continued
    """
    chain = CallbackChain(run)
    for callback in named_callbacks(spec.callbacks, namespace):
        chain.add(callback)
    known = earlier.tracking if earlier else ""
    if not spec.log:
        return chain, known
    tracking = Tracking(make(spec.log), known)
    chain.add(tracking)
    return chain, tracking.id
