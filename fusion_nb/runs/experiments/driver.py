"""Trains the runs of an experiment in the background, one after the other or beside each other."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from fusion_nb.core.history import History
from fusion_nb.core.process.interrupts import HeldInterrupts
from fusion_nb.core.run_control import RunControl
from fusion_nb.errors import Interrupted, RunError, Stopped, option
from fusion_nb.runs.experiments.crew.batch import Batch
from fusion_nb.runs.experiments.crew.trainer import Crew, GivenBack, Joining, Trainer
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.training import TrialControl, line_of
from fusion_nb.runs.experiments.trial import TRIAL_ENDED, Trial

#: Seconds between two looks at interrupts and pauses, while an experiment is waited for.
_LOOK_SECONDS = 0.2
#: How a finished experiment grows.
_MORE = f"call it again with more seeds or values, and with the same {option('checkpoint')}"


class Source(Protocol):
    """Says which trials come next, and learns how they ended."""

    def batches(self) -> Iterator[Sequence[Trial]]:
        """Yield trials; those of one batch may be trained in any order."""

    def prunes(self, trial: Trial, history: History) -> bool:
        """Return whether a trial is to end after this round."""


class Driver:
    """Trains the trials of a source, in a thread for each trainer, until all have ended.

    source:   says which come next;  crew: has what trains them
    name:     of the experiment, for messages
    folder:   where outcomes are saved, or None;  notify: called after every round and change
    """

    def __init__(
        self,
        source: Source,
        crew: Crew,
        *,
        name: str,
        folder: ExperimentFolder | None,
        notify: Callable[[], object],
    ) -> None:
        self.name, self.status, self.reason = name, "ready", ""
        self.error: BaseException | None = None
        self._source, self._crew, self._folder = source, crew, folder
        self._trainers: list[Trainer] = []
        self._waiting: list[Joining] = []
        self._notify = notify
        self._control = RunControl()
        self._thread: threading.Thread | None = None

    def start(self, begin: Callable[[], object]) -> None:
        """Train in the background; one that was stopped goes on. Raises RunError while it runs.

        begin: called before the first trial, in this thread
        """
        if self.status in ("running", "paused"):
            raise RunError(f"{self.name} is {self.status} already", f"{self.name}.wait() waits")
        if self.status == "finished":
            raise RunError(f"{self.name} is finished", _MORE)
        begin()
        self._control.reset()
        self.status, self.reason, self.error = "running", "", None
        self._thread = threading.Thread(target=self._drive, name=self.name, daemon=True)
        self._thread.start()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it has ended. An interrupt stops it, and raises Interrupted after that.

        Raises RunError for one that is paused, and the error that ended the experiment itself.
        """
        end = math.inf if timeout is None else time.monotonic() + timeout
        with HeldInterrupts() as interrupts:
            while not interrupts.has_come and self._is_alive and time.monotonic() < end:
                if self.status == "paused" and timeout is None:
                    raise RunError(f"{self.name} is paused", f"{self.name}.resume() first")
                self._join(min(_LOOK_SECONDS, end - time.monotonic()))
            if interrupts.has_come:
                interrupts.forget()
                self.stop(wait=False)
                while self._is_alive and not interrupts.has_come:  # a second one ends the wait
                    self._join(_LOOK_SECONDS)
                interrupts.forget()
                raise Interrupted(
                    f"{self.name} was stopped; the runs that had ended stay",
                    f"{self.name}.start() goes on where it stopped",
                )
        if self.error is not None:
            raise self.error

    def stop(self, wait: bool = True) -> None:
        """Stop between two batches; runs that have ended stay."""
        if self._is_alive:  # or its runs could not be trained further
            self._control.stop()
        if wait and self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def pause(self) -> None:
        """Hold it between two batches. Raises RunError unless it runs."""
        if self.status != "running":
            raise RunError(f"{self.name} is {self.status}, so there is nothing to pause", "")
        self._control.pause()
        self._set("paused")

    def resume(self) -> None:
        """Go on after a pause. Raises RunError unless it is paused."""
        if self.status != "paused":
            hint = (
                _MORE if self.status == "finished" else f"{self.name}.start() trains what is left"
            )
            raise RunError(f"{self.name} is {self.status}, not paused", hint)
        self._set("running")
        self._control.resume()

    def gate(self) -> None:
        """Block while it is paused. Raises Stopped when a stop was asked for."""
        self._control.gate()

    @property
    def width(self) -> int:
        """The number of trials that are trained at the same time; 1 before it is known."""
        return max(1, len(self._trainers))

    @property
    def _is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _join(self, seconds: float) -> None:
        if self._thread is not None:
            self._thread.join(max(0.0, seconds))

    def _set(self, status: str) -> None:
        self.status = status
        self._notify()

    def _drive(self) -> None:
        status = "finished"
        try:
            self._trainers = [*self._crew.begin()]
            for batch in self._source.batches():
                self._control.gate()
                self._train_all(batch)
        except Stopped:
            status, self.reason = "stopped", "stopped by its user"
        except Exception as error:  # of the experiment itself: a full disk, say
            status, self.reason, self.error = "failed", line_of(error), error
        finally:
            for trainer in (*self._trainers, *self._waiting):
                trainer.close()
            self._trainers, self._waiting = [], []
            if self._folder is not None:
                self._folder.end()
            self._set(status)

    def _train_all(self, trials: Sequence[Trial]) -> None:
        """Train those of a batch that have not ended, each trainer one after the other."""
        left = [trial for trial in trials if trial.status not in TRIAL_ENDED]
        batch = Batch(self.name, left, self._train, lambda: not self._control.is_stopping)
        batch.begin(self._trainers[1 : len(left)])
        # Once more where a trial was given back after the first trainer had found none left.
        while batch.goes_on:
            batch.work(self._trainers[0], lambda: self._let_join(batch))
            for trainer in self._waiting:  # they would come too late
                trainer.close()
            batch.join()
        if batch.errors:
            raise batch.errors[0]
        self._control.gate()

    def _let_join(self, batch: Batch) -> None:
        """Let trainers join that the crew has, each as soon as it is ready."""
        joining = self._crew.joining(batch.num_left)
        self._waiting += joining
        batch.invite(joining, self._has_joined)

    def _has_joined(self, trainer: Joining) -> bool:
        """Wait until a trainer is ready, and return whether it may train."""
        if not trainer.is_ready(TrialControl(self._control)):
            trainer.close()
            return False
        self._waiting.remove(trainer)
        self._trainers.append(trainer)
        self._crew.joined(trainer)
        return True

    def _train(self, trial: Trial, trainer: Trainer) -> None:
        control = TrialControl(self._control)

        def prunes(history: History) -> bool:
            return self._source.prunes(trial, history)

        try:
            self._control.gate()
            trainer.train(trial, control, prunes, self._notify)
        except GivenBack:
            trial.status, trial.reason, trial.records = "waiting", "", History()
            raise
        except Stopped:
            trial.status = "stopped"
        except Exception as error:
            trial.status, trial.reason = "failed", line_of(error)
        if self._folder is not None:
            self._folder.save(trial)
        self._notify()


class Grid:
    """All combinations, those of the first seed first, so that each is seen early."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = trials

    def batches(self) -> Iterator[Sequence[Trial]]:
        """Yield all trials at once."""
        seeds = list(dict.fromkeys(trial.seed for trial in self._trials))
        yield sorted(self._trials, key=lambda trial: seeds.index(trial.seed))

    def prunes(self, trial: Trial, history: History) -> bool:
        """Return False: a grid trains each to its end."""
        return False


def seconds_left(trials: Sequence[Trial], size: int, width: int) -> float | None:
    """Return how long the rest takes, judged by the trials that have ended; None without any."""
    ended = [t.seconds for t in trials if t.status in ("finished", "pruned") and t.records]
    if not ended:
        return None
    done = sum(trial.status in TRIAL_ENDED for trial in trials)
    begun = sum(trial.seconds for trial in trials if trial.status == "running")
    mean = sum(ended) / len(ended)
    return max(0.0, (size - done) * mean - begun) / width
