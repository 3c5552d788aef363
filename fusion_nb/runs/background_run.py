"""A run in the background: started, waited for, paused, stopped and continued at whole rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from fusion_nb.core.history import History
from fusion_nb.core.process.interrupts import HeldInterrupts
from fusion_nb.core.run_control import RunControl
from fusion_nb.errors import Interrupted, OptionError, RunError
from fusion_nb.runs.rounds import RoundSource
from fusion_nb.runs.training_thread import EarlyStopping, TrainingThread


class BackgroundRun:
    """Trains the rounds of a source in a background thread, and follows the requests of others.

    source:         trains the rounds;  control: pauses and stops it between two batches
    num_rounds:     rounds to train when it is started
    name:           its name in messages
    early_stopping: predicates that return a reason to stop, asked after every whole round
    on_change:      called after every whole round and change of status, in the thread where that
                    happens
    """

    def __init__(
        self,
        source: RoundSource,
        control: RunControl,
        num_rounds: int,
        *,
        name: str,
        early_stopping: Sequence[EarlyStopping] = (),
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._source, self._control, self._on_change = source, control, on_change
        source.plan(num_rounds)
        self._thread = TrainingThread(
            source,
            control,
            num_rounds,
            name=name,
            early_stopping=early_stopping,
            notify=on_change,
        )

    @property
    def status(self) -> str:
        """ready, running, paused, finished, stopped or failed."""
        thread = self._thread
        if thread.is_training:
            return "paused" if self._control.is_paused else "running"
        if not thread.was_launched:
            return "ready"
        if thread.error is not None:
            return "failed"
        return "finished" if len(self.records) >= thread.target or thread.reason else "stopped"

    @property
    def reason(self) -> str:
        """Why it ended, in words, or an empty string."""
        return self._thread.reason

    @property
    def error(self) -> BaseException | None:
        """The exception that ended it, or None."""
        return self._thread.error

    @property
    def records(self) -> History:
        """The whole rounds so far, as a copy."""
        return History(self._source.history)

    @property
    def planned(self) -> int:
        """The number of rounds that it has in the end, if nothing ends it early."""
        return self._thread.target

    @property
    def stops_early(self) -> bool:
        """Whether early stopping still applies; rounds that are added override it."""
        return bool(self._thread.early_stopping)

    def early_reason(self, history: History) -> str:
        """Return why early stopping ends the run after the last of these rounds, or ""."""
        return next(filter(None, (stop(history) for stop in self._thread.early_stopping)), "")

    def start(self) -> None:
        """Start training and return at once. Raises RunError if it was started before."""
        with HeldInterrupts(), self._thread.changed:
            if self._thread.was_launched:
                raise RunError(
                    f"{self.name} is {self.status} already", "more(rounds=5) goes on where it ended"
                )
            self._thread.launch()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it has ended, or for `timeout` seconds; raise the error that ended it.

        An interrupt (■, Ctrl-C) stops it between two batches, and raises Interrupted after that.
        Raises RunError for a run that is paused, since nobody could resume it meanwhile.
        """
        thread = self._thread

        def is_held() -> bool:
            return timeout is None and self.status == "paused" and not thread.hold_after_round

        with self.stopping_on_interrupt():
            thread.wait_until(lambda: thread.is_at_rest or is_held(), timeout)
        if not thread.is_at_rest and is_held():
            raise RunError(
                f"{self.name} is paused", f"{self.name}.resume() or {self.name}.stop() first"
            )
        self._raise_error()

    def settle(self) -> None:
        """Wait until it has ended or is paused, so that no answer is about half a run."""
        thread = self._thread
        thread.wait_until(
            lambda: (
                thread.is_at_rest
                or (self.status == "paused" and thread.num_told == thread.num_whole)
            )
        )

    @contextmanager
    def stopping_on_interrupt(self) -> Iterator[None]:
        """Stop the run when an interrupt comes inside `with`, which launches it or waits for it.

        Raises Interrupted after that, when the run is at rest; a second interrupt ends the wait.
        """
        try:
            with HeldInterrupts():
                yield
        except KeyboardInterrupt:
            with HeldInterrupts() as more:
                self.stop(wait=False)
                with suppress(KeyboardInterrupt):
                    self._join()
                more.forget()
                raise self._interrupted() from None

    def stop(self, wait: bool = True) -> None:
        """Stop between two batches and keep the last whole round. One that has ended stays so."""
        # Under the lock, or a pause that is being decided would hold a run that is to end.
        with HeldInterrupts(), self._thread.changed:
            self._control.stop()
            self._thread.changed.notify_all()
        if wait:
            self._join()

    def pause(self) -> None:
        """Hold it between two batches until `resume` or `step`. Raises RunError unless it runs."""
        self._source.check_request("pause")
        with HeldInterrupts(), self._thread.changed:
            if self.status != "running":
                raise RunError(
                    f"{self.name} is {self.status}, so there is nothing to pause",
                    "start() or more() run it",
                )
            if self._control.is_stopping:
                raise RunError(f"{self.name} is about to stop", "more() goes on after that")
            self._control.pause()
            self._thread.changed.notify_all()
        self._on_change()

    def resume(self) -> None:
        """Continue after a pause. Raises RunError when it is not paused."""
        with HeldInterrupts(), self._thread.changed:
            if self.status != "paused":
                raise RunError(
                    f"{self.name} is {self.status}, not paused",
                    "more(rounds=5) adds rounds to a run that ended",
                )
            self._thread.hold_after_round = False
            self._control.resume()
            self._thread.changed.notify_all()
        self._on_change()

    def step(self, wait: bool = True) -> None:
        """Train to the end of the round that it is in, or of the next, and hold it there.

        wait: return then, or at once
        Raises RunError while it is running. An interrupt stops it, as in `wait`.
        """
        self._source.check_request("step")
        thread = self._thread
        while (done := self._begin_step()) is None:
            self._join()
        if not wait:
            return
        with self.stopping_on_interrupt():
            thread.wait_until(lambda: thread.num_told > done or thread.is_at_rest)
        if self.error is not None:
            self._join()
            self._raise_error()

    def more(self, rounds: int = 5) -> None:
        """Add that many rounds, without early stopping, and train them in the background.

        A run under way gets them on top of those that it has left; one that ended continues after
        its last whole round.
        """
        if not isinstance(rounds, int) or rounds < 1:
            raise OptionError(
                f"rounds={rounds} is not allowed",
                "give a whole number >= 1",
                option="rounds",
                value=rounds,
            )
        self._source.check_request("more")
        # A run that is ending has to end first. If another thread then added rounds before this
        # one, there is again a run under way.
        while not self._add_rounds(rounds):
            self._join()

    def _begin_step(self) -> int | None:
        """Begin a step; return the number of whole rounds before it, or None while the run ends."""
        thread = self._thread
        with HeldInterrupts(), thread.changed:
            if self.status == "running":
                raise RunError(f"{self.name} is running", "pause() it first")
            if self.status == "paused":
                thread.hold_after_round = True
                self._control.resume()
                thread.changed.notify_all()
                return thread.num_whole
            if not thread.is_at_rest:
                return None
            done = len(self.records)
            if self.reason and self.error is None:
                thread.early_stopping = []  # it ended the run, and more rounds are wanted
            thread.target = max(thread.target, done + 1)
            self._source.plan(thread.target, after=done)
            thread.launch(one_round=True)
            return thread.num_whole

    def _add_rounds(self, rounds: int) -> bool:
        """Add rounds to the target; return False while the run is ending."""
        thread = self._thread
        with HeldInterrupts(), thread.changed:
            is_under_way = thread.is_training and not self._control.is_stopping
            if not is_under_way and not thread.is_at_rest:
                return False
            thread.early_stopping = []
            begin = thread.target if is_under_way else len(self.records)
            thread.target = begin + rounds
            self._source.plan(thread.target, after=begin)
            if is_under_way:
                thread.reason = ""
            else:
                thread.launch()
            return True

    def _join(self) -> None:
        self._thread.wait_until(lambda: self._thread.is_at_rest)

    def _raise_error(self) -> None:
        if self.error is not None and self._thread.is_done:
            raise self.error.with_traceback(self._thread.traceback)

    def _interrupted(self) -> Interrupted:
        """Return the error that tells of an interrupt."""
        if not self._thread.is_done:
            return Interrupted(
                f"{self.name} stops as soon as it can, after the batch that it is in",
                f"{self.name}.status tells when it has",
            )
        left = self.planned - len(self.records)
        return Interrupted(
            f"{self.name} was stopped after round {len(self.records)} of {self.planned}, "
            "whose model it holds",
            f"{self.name}.more({left}) goes on where it stopped"
            if left
            else "it had all its rounds",
        )
