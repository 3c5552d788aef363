"""The process in which one aggregator trains, told to stop by its input: `-m
fusion_nb.service.worker FOLDER`.
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
from pathlib import Path
from typing import Any

from fusion_nb.core import history
from fusion_nb.core.run_control import RunControl
from fusion_nb.runs.run import Run
from fusion_nb.runs.session import ENDED
from fusion_nb.service.processes import sandbox
from fusion_nb.service.request_fields import WHOLE
from fusion_nb.service.storage import atomic
from fusion_nb.service.storage.run_folder import Folder


class Pulse:
    """Tells the server, at most once a second, that a batch has ended."""

    def __init__(self, channel: int) -> None:
        self._channel, self._last = channel, 0.0

    def __call__(self) -> None:
        """Write one byte, unless the last one is less than a second old."""
        now = time.monotonic()
        if now - self._last > 1:
            self._last = now
            # A server that is gone: the thread that listens to it ends this process.
            with contextlib.suppress(OSError):
                os.write(self._channel, b".")


class Keeper:
    """Writes each round of a run into its folder, in the thread that trains."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._kept, self._line = 0, ""
        self.error: BaseException | None = None

    def __call__(self, run: Run) -> None:
        """Keep the rounds that are new. What can't be written ends the run: nobody would see its
        rounds.
        """
        if self.error is not None:
            return
        try:
            records = run.records
            for record in records[self._kept :]:
                if not self._kept:
                    whole = WHOLE[self._folder.about["model_type"]]
                    run.write(self._folder.path / f"trained{self._folder.model.suffix}", whole)
                best = records.best(run.monitor)
                is_best = best is not None and best.round == record.round
                self._line = json.dumps(history.to_dict(record), allow_nan=False)
                self._folder.keep_round(record.round, self._line, run.weights, is_best)
                self._kept = record.round
            if (
                run.status in ENDED
                and self._kept
                and (line := json.dumps(history.to_dict(records[-1]))) != self._line
            ):
                self._folder.add_line(line)  # what followed the last round is told in its record
        except BaseException as error:
            self.error = error
            run.stop(wait=False)


class Orders:
    """What the server says on standard input: `stop`, or nothing any more, since it is gone."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._stopped = False
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def begin(self, run: Run) -> None:
        """Start a run, or stop it at once where that was asked for while data was read."""
        with self._lock:
            self._run = run
            run.start()
            if self._stopped:
                run.stop(wait=False)

    def _listen(self) -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                with self._lock:
                    self._stopped = True
                    if self._run is not None:
                        self._run.stop(wait=False)
        # The server was killed: whoever starts it again finds the last whole round, and nobody who
        # writes another, this process and those that it, or a client's data handler, has started.
        if os.getpgid(0) == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def main(path: str, max_memory: str = "0") -> None:
    """Train what a folder holds, and write there how it ended."""
    sandbox.be_expendable(int(max_memory))
    control = RunControl(on_gate=Pulse(sandbox.own_channel()))
    folder = Folder(Path(path))
    outcome: dict[str, Any]
    orders = Orders()
    try:
        spec, namespace = sandbox.spec_and_namespace(folder)
        run = Run(spec, namespace, name="run", control=control)
        keeper = Keeper(folder)
        run.subscribe(keeper)
        begun = {
            "notes": run.notes,
            "planned": run.planned,
            "shown": list(run.chart_metrics),
            "monitor": run.monitor,
        }
        atomic.write_json(folder.path / "begun.json", begun)
        orders.begin(run)
        run.wait()
        if keeper.error is not None:
            raise keeper.error
        outcome = {"state": run.status, "reason": run.reason}
    except BaseException as error:
        traceback.print_exc()
        outcome = {"state": "failed", **sandbox.told_of_run(error, folder)}
    atomic.write_json(folder.path / "outcome.json", outcome)
    sys.stderr.flush()
    os._exit(0)  # frameworks take seconds to say goodbye, and all that matters is on the disk


if __name__ == "__main__":
    main(*sys.argv[1:])
