"""A federation driven in a thread of its own: started, watched, held, stopped and continued at
whole rounds.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from fusion_nb.core import cell_output
from fusion_nb.core.federation import Federation
from fusion_nb.core.history import History
from fusion_nb.core.pause_clock import Held
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import Interrupted, OptionError, RunError, Stopped

Listener = Callable[[Any], None]


class Driver:
    """Runs the rounds of a federation in a background thread.

    name:       what messages call it
    num_rounds: rounds to train when it is started
    early:      predicates that return a reason to stop, asked after every whole round

    Between two batches the thread passes `_gate`, where it is held or leaves. Whether it goes on at
    all is decided under `_lock`, so that no request falls between its last look and its end.
    """

    def __init__(
        self,
        federation: Federation,
        num_rounds: int,
        *,
        name: str,
        early: Sequence[Callable[[History], str]] = (),
    ) -> None:
        self.name = name
        self.reason = ""
        self.error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._federation = federation
        self._federation.gate = self._gate
        self._held = Held()  # a pause is no part of a round's time
        self._federation.clock = self._held.clock
        self._target = num_rounds
        self._federation.schedule.extend(num_rounds)
        self._early = list(early)
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._training = False  # the thread may add rounds
        self._done = threading.Event()  # it is through, and every listener was told
        self._done.set()
        self._stop, self._go = threading.Event(), threading.Event()
        self._one_round = False
        self._stepped = threading.Event()
        self._listeners: list[Listener] = []

    def start(self) -> Self:
        """Start training in the background and return at once. Raises RunError if it was started
        before.
        """
        with self._lock:
            if self._thread is not None:
                raise RunError(
                    f"{self.name} is {self.status} already", "more(rounds=5) goes on where it ended"
                )
            return self._launch()

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until it has ended, or for `timeout` seconds; raise what ended it, if that was an
        error.

        An interrupt (■, Ctrl-C) stops it between two batches and raises Interrupted once it has
        come to rest.
        Raises RunError for a run that is held, since nobody could let it go on meanwhile.
        """
        with self._stopping_on_interrupt():
            self._join(timeout, or_held=timeout is None)
        if self.error is not None and self._done.is_set():
            raise self.error.with_traceback(self._traceback)
        return self

    def stop(self, wait: bool = True) -> Self:
        """Stop between two batches and keep the last whole round. Stopping what has ended does
        nothing.
        """
        with self._lock:  # or a pause that is being decided would hold what is to end
            self._stop.set()
            self._go.set()
        if wait:
            self._join(None)
        return self

    def pause(self) -> Self:
        """Hold between two batches until `resume` or `step`. Raises RunError when it is not
        running.
        """
        with self._lock:
            if self.status != "running":
                line = f"{self.name} is {self.status}, so there is nothing to pause"
                raise RunError(line, "start() or more() run it")
            if self._stop.is_set():
                raise RunError(f"{self.name} is about to stop", "more() goes on after that")
            self._go.clear()
        self._notify()
        return self

    def resume(self) -> Self:
        """Go on after a pause. Raises RunError when it is not paused."""
        with self._lock:
            if self.status != "paused":
                hint = "more(rounds=5) adds rounds to a run that ended"
                raise RunError(f"{self.name} is {self.status}, not paused", hint)
            self._one_round = False
            self._go.set()
        self._notify()
        return self

    def step(self, wait: bool = True) -> Self:
        """Run to the end of the round it is in, or of the next; hold again, and return then, or at
        once.

        Raises RunError while it is running. An interrupt stops it, as in `wait`.
        """
        while True:
            with self._lock:
                if self.status == "running":
                    raise RunError(f"{self.name} is running", "pause() it first")
                self._stepped.clear()
                if self.status == "paused":
                    self._one_round = True
                    self._go.set()
                    break
                if self._at_rest():
                    if (
                        self.reason and self.error is None
                    ):  # early stopping ended it, and more is wanted all the same
                        self._early = []
                    self._target = max(self._target, len(self.records) + 1)
                    self._federation.schedule.extend(self._target, after=len(self.records))
                    self._launch(one_round=True)
                    break
            self._join(None)
        with self._stopping_on_interrupt():
            while wait and not self._stepped.wait(0.1) and not self._done.is_set():
                pass
        if wait and self.error is not None:
            self.wait()
        return self

    def more(self, rounds: int = 5) -> Self:
        """Add that many rounds, without early stopping, and train them in the background.

        A run under way gets them on top of those it has left; one that ended goes on after its last
        whole round.
        """
        if not isinstance(rounds, int) or rounds < 1:
            raise OptionError(f"rounds={rounds} is not allowed", "give a whole number >= 1")
        while True:
            with self._lock:
                if self._training and not self._stop.is_set():
                    self._early, self.reason = [], ""
                    self._federation.schedule.extend(self._target + rounds, after=self._target)
                    self._target += rounds
                    return self
                if self._at_rest():
                    self._early = []
                    self._target = len(self.records) + rounds
                    self._federation.schedule.extend(self._target, after=len(self.records))
                    return self._launch()
            # It is ending. Whoever asked for the same meanwhile may have launched it again: look
            # once more.
            self._join(None)

    def subscribe(self, listener: Listener) -> None:
        """Call `listener(run)` after every whole round and change of status, on whichever thread
        that happens.
        """
        self._listeners.append(listener)

    def unsubscribe(self, listener: Listener) -> None:
        """Stop telling a listener. One that was never told is fine."""
        self._listeners = [kept for kept in self._listeners if kept != listener]

    @property
    def status(self) -> str:
        """ready, running, paused, finished, stopped or failed."""
        if self._training:
            return "running" if self._go.is_set() else "paused"
        if self._thread is None:
            return "ready"
        if self.error is not None:
            return "failed"
        return "finished" if len(self.records) >= self._target or self.reason else "stopped"

    @property
    def records(self) -> History:
        """The whole rounds so far, as a copy."""
        return History(self._federation.history)

    @property
    def planned(self) -> int:
        """How many rounds the run will have if nothing ends it early."""
        return self._target

    def _launch(self, one_round: bool = False) -> Self:
        self._stop.clear()
        self._go.set()
        self._one_round = one_round
        self._training = True
        self.reason, self.error, self._traceback = "", None, None
        # An event for each thread: one that is still telling its listeners must not mark its
        # successor as done.
        self._done = threading.Event()
        # A daemon: a kernel that is told to shut down doesn't wait for a run.
        name = f"fusion_nb {self.name}"
        self._thread = threading.Thread(
            target=self._drive, args=(self._done, cell_output.bind_output()), name=name, daemon=True
        )
        self._thread.start()
        return self

    def _drive(self, done: threading.Event, tie: Callable[[], None]) -> None:
        try:
            tie()
            self._notify()
            while self._goes_on():
                for _ in self._rounds(self._target - len(self.records)):
                    self._after_round()
                    if self.reason:
                        break
            self._federation.conclude()
        except Stopped:
            if not self._training:  # all rounds are there
                self.reason = (
                    "stopped while parties were given models of their own, which not all have now"
                )
        except BaseException as error:
            self.error, self._traceback = error, error.__traceback__
            said = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
            self.reason = said.partition("\n")[0]
        finally:
            with self._lock:
                self._training = False
            self._federation.close()
            self._notify()
            done.set()

    def _rounds(self, count: int) -> Iterator[RoundRecord]:
        """Train that many more rounds, and yield each as it is whole."""
        return self._federation.rounds(count)

    def _goes_on(self) -> bool:
        with self._lock:
            self._training = not self.reason and len(self.records) < self._target
            return self._training

    def _after_round(self) -> None:
        history = self._federation.history
        self._keep(history)
        with self._lock:
            self.reason = next(filter(None, (stop(history) for stop in self._early)), "")
            if (
                self._one_round
                and len(history) < self._target
                and not self.reason
                and not self._stop.is_set()
            ):
                self._go.clear()
            self._one_round = False
        self._notify()
        self._stepped.set()

    def _keep(self, history: History) -> None:
        """Take what should outlive the round that was just added; called in the training thread."""

    def _gate(self) -> None:
        """Block while paused, and leave by Stopped when a stop was asked for; called between
        batches.
        """
        if not self._go.is_set():
            with self._held:
                self._go.wait()
        if self._stop.is_set():
            raise Stopped

    def _notify(self) -> None:
        for listener in self._listeners:
            try:
                listener(self)
            except Exception:  # a chart that can't be drawn must not end a training
                self.unsubscribe(listener)
                traceback.print_exc(file=sys.stderr)

    def _at_rest(self) -> bool:
        """Whether a new thread may be started: the last one is through, or it is the one that
        asks.
        """
        return self._done.is_set() or threading.current_thread() is self._thread

    def _join(self, timeout: float | None, *, or_held: bool = False) -> None:
        """Wait until the thread is through, its last listener included; raise RunError if it is
        held instead.
        """
        # Not Thread.join: an interrupt there can mark a thread as ended that is not
        # (python/cpython#90882). And in short waits, since one without end can't be interrupted on
        # every platform.
        waited = 0.0
        while (
            not self._at_rest()
            and not self._done.wait(0.1)
            and (timeout is None or waited < timeout)
        ):
            waited += 0.1
            if or_held and self.status == "paused" and not self._one_round:
                raise RunError(
                    f"{self.name} is paused", f"{self.name}.resume() or {self.name}.stop() first"
                )

    @contextmanager
    def _stopping_on_interrupt(self) -> Iterator[None]:
        """Turn an interrupt of whoever waits into a stop of the run."""
        try:
            yield
        except KeyboardInterrupt:
            self.stop()
            left = self._target - len(self.records)
            line = (
                f"{self.name} was stopped after round {len(self.records)} of {self._target}, "
                "whose model it holds"
            )
            hint = (
                f"{self.name}.more({left}) goes on where it stopped"
                if left
                else "it had all its rounds"
            )
            raise Interrupted(line, hint) from None

    def _settle(self) -> None:
        """Wait until the run has ended or is held, so that no answer is about half a run."""
        while (
            self.status != "paused"
            and threading.current_thread() is not self._thread
            and not self._done.wait(0.1)
        ):
            pass
