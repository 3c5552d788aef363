"""The thread that trains the rounds of a run."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from fusion_nb.core.history import History
from fusion_nb.core.process import cell_output
from fusion_nb.core.process.foreign_errors import said
from fusion_nb.core.process.interrupts import HeldInterrupts
from fusion_nb.core.run_control import RunControl
from fusion_nb.errors import FusionError, Stopped
from fusion_nb.runs.callbacks.followers import Followers
from fusion_nb.runs.early_stopping import EarlyStopping
from fusion_nb.runs.rounds import RoundSource

#: Longest wait for a change, in seconds. A change ends a wait at once; this is for interrupts,
#: which are looked at in between.
_LONGEST_WAIT = 0.1
#: Longest wait for a batch, in seconds, when the process ends in the middle of a training.
_LONGEST_END = 5.0


@dataclass
class Goal:
    """The end that a training is to reach.

    rounds:         the number of whole rounds
    early_stopping: predicates that end it before
    """

    rounds: int
    early_stopping: list[EarlyStopping] = field(default_factory=list)

    def early_reason(self, history: History) -> str:
        """Return why early stopping ends a run after the last of these rounds, or ""."""
        if not history:
            return ""
        return next(filter(None, (stop(history) for stop in self.early_stopping)), "")


@dataclass
class Ending:
    """Why a training ended before its goal, if it did.

    reason: in words, or "";  error: the exception that ended it, with its traceback
    """

    reason: str = ""
    error: BaseException | None = None
    traceback: TracebackType | None = None

    def fail(self, error: BaseException) -> None:
        """Take an exception as the reason."""
        self.error, self.traceback = error, error.__traceback__
        self.reason = _first_line(error)


@dataclass
class Progress:
    """How far a training has come, and how far its listeners know.

    num_whole, num_told: the rounds that are whole, and those of them that listeners know
    teller: the thread that tells a round now, which need not be the one that trains
    """

    num_whole: int
    num_told: int
    teller: threading.Thread | None = None


class TrainingThread:
    """Trains rounds up to a goal in a thread of its own, and again when it is launched anew.

    After each whole round it decides whether to go on, and then tells the round to listeners: at
    once, or, where the round is saved first, when that is done, in the thread that saved it.

    goal, ending:     the end that it is to reach, and that it came to
    is_training:      whether the thread may add rounds
    hold_after_round: whether the run is held at the end of the round that it is in
    progress:         the rounds that it has trained and told

    These are read and written under `changed`, which wakes the threads that wait for a change. So
    no request falls between the thread's last look at them and its end.
    """

    def __init__(
        self,
        source: RoundSource,
        control: RunControl,
        goal: Goal,
        *,
        name: str,
        followers: Followers,
    ) -> None:
        self.goal, self.ending = goal, Ending()
        self.is_training = self.hold_after_round = False
        self.progress = Progress(len(source.history), len(source.history))
        self.changed = threading.Condition()
        self._source, self._control = source, control
        self._name, self._followers = name, followers
        self._thread: threading.Thread | None = None
        self._done = threading.Event()
        self._done.set()

    @property
    def was_launched(self) -> bool:
        """Whether it was launched before."""
        return self._thread is not None

    @property
    def is_done(self) -> bool:
        """Whether the thread has ended, and every listener was notified."""
        return self._done.is_set()

    @property
    def is_at_rest(self) -> bool:
        """Whether it may be launched: the last thread has ended, or it is the one that asks.

        To wait for the training would block the thread that tells a round for ever, too.
        """
        return self.is_done or threading.current_thread() in (self._thread, self.progress.teller)

    def launch(self, *, one_round: bool = False) -> None:
        """Start a thread. Call it under `changed`, and only while `is_at_rest`."""
        self._control.reset()
        is_first = not self.was_launched
        self.hold_after_round, self.is_training = one_round, True
        self.ending = Ending()
        # Each thread has an event of its own: one that still notifies its listeners must not mark
        # its successor as done.
        self._done = threading.Event()
        _launched.add(self)
        # A daemon: a kernel that is shut down does not wait for a run, only for the batch it is in.
        self._thread = threading.Thread(
            target=self._train,
            args=(self._done, cell_output.bind_output(), is_first),
            name=f"fusion_nb {self._name}",
            daemon=True,
        )
        self._thread.start()

    def end_with_process(self) -> None:
        """End between two batches because the process ends."""
        self._control.stop()
        self._done.wait(_LONGEST_END)

    def wait_until(self, condition: Callable[[], bool], timeout: float | None = None) -> None:
        """Wait until the condition holds, or for `timeout` seconds.

        Raises KeyboardInterrupt after an interrupt, which can't leave the lock held. This is not
        Thread.join: an interrupt there can mark a thread as ended that has not
        (python/cpython#90882).
        """
        end = None if timeout is None else time.monotonic() + timeout
        with HeldInterrupts() as interrupts, self.changed:
            while not (interrupts.has_come or condition()):
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return
                self.changed.wait(_LONGEST_WAIT if left is None else min(left, _LONGEST_WAIT))

    def _train(
        self, done: threading.Event, bind_output: Callable[[], None], is_first: bool
    ) -> None:
        try:
            bind_output()
            self._followers.begin()
            if is_first:
                self._decide_early()
            while self._goes_on():
                self._train_rounds()
                self.ending.reason = self.ending.reason or self._source.reason
            self._source.finish()
        except Stopped:
            if (failure := self._source.failure) is not None:
                self.ending.fail(failure)
            elif not self.is_training:  # all rounds are there
                self.ending.reason = (
                    "stopped while parties were given models of their own, which not all have now"
                )
        except BaseException as error:
            self.ending.fail(error)
        finally:
            self._end(done)

    def _train_rounds(self) -> None:
        """Train up to the goal, or to a round that ends the run early; all of them are told."""
        history = History(self._source.history)
        with self.changed:
            self.progress = Progress(len(history), len(history))
        try:
            for record in self._source.rounds(self.goal.rounds - len(history)):
                history[record.round - 1 :] = [record]  # a service may send the last one again
                self._end_round(history)
                if self.ending.reason:
                    break
        finally:
            self._source.settle()

    def _goes_on(self) -> bool:
        with self.changed:
            self.is_training = (
                not self.ending.reason and len(self._source.history) < self.goal.rounds
            )
            return self.is_training

    def _decide_early(self) -> None:
        """End at once a run that continues after a round in which an earlier one ended early."""
        with self.changed:
            self.ending.reason = self.goal.early_reason(self._source.history)

    def _end_round(self, history: History) -> None:
        """Decide how to go on after a whole round, and tell it once it is safe."""
        with self._source.showing_latest():  # what is called here asks the run about this round
            own_reason = self._followers.decide(history[-1])
        with self.changed:
            self.ending.reason = self.goal.early_reason(history) or own_reason
            is_last = bool(self.ending.reason) or len(history) >= self.goal.rounds
            if self.hold_after_round and not is_last and not self._control.is_stopping:
                self._control.pause()
            self.hold_after_round = False
            self.progress.num_whole = number = len(history)
        self._source.when_safe(lambda: self._tell(number))

    def _tell(self, number: int) -> None:
        """Tell listeners of a round."""
        self.progress.teller = threading.current_thread()
        self._followers.tell()
        self.progress.teller = None
        with self.changed:
            self.progress.num_told = number
            self.changed.notify_all()

    def _end(self, done: threading.Event) -> None:
        with self.changed:
            self.is_training = False
            self.changed.notify_all()
        try:
            self._source.close()
            self._followers.end()
        except BaseException as error:
            if self.ending.error is None:
                self.ending.fail(error)
        finally:  # whatever happens, no one waits for this training for ever
            with self.changed:
                done.set()
                self.changed.notify_all()


def _first_line(error: BaseException) -> str:
    return error.message.partition("\n")[0] if isinstance(error, FusionError) else said(error)


_launched: weakref.WeakSet[TrainingThread] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """End all trainings: a thread killed inside a framework's C++ code aborts the process."""
    for thread in list(_launched):
        thread.end_with_process()
