"""A run in the background: started, waited for, paused, stopped and continued at whole rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from fusion_nb.core.process.interrupts import HeldInterrupts
from fusion_nb.core.run_control import RunControl
from fusion_nb.errors import Interrupted, OptionError, RunError
from fusion_nb.runs.callbacks.chain import CallbackChain
from fusion_nb.runs.callbacks.followers import Followers
from fusion_nb.runs.early_stopping import EarlyStopping
from fusion_nb.runs.rounds import RoundSource
from fusion_nb.runs.training_state import TrainingState
from fusion_nb.runs.training_thread import Goal, TrainingThread


class BackgroundRun:
    """Trains the rounds of a source in a background thread, and follows the requests of others.

    source:         trains the rounds;  control: pauses and stops it between two batches
    num_rounds:     rounds to train when it is started
    name:           its name in messages
    early_stopping: predicates that return a reason to stop, asked after every whole round
    callbacks:      what is called when a training begins, after each round, and at its end
    on_change:      called after every whole round and change of status, in the thread where that
                    happens

    `state` tells how far it is; all else here asks it to go on, to wait or to end.
    """

    def __init__(
        self,
        source: RoundSource,
        control: RunControl,
        num_rounds: int,
        *,
        name: str,
        early_stopping: Sequence[EarlyStopping] = (),
        callbacks: CallbackChain | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.callbacks = CallbackChain() if callbacks is None else callbacks
        self._source, self._control, self._on_change = source, control, on_change
        source.plan(num_rounds)
        self._thread = TrainingThread(
            source,
            control,
            Goal(num_rounds, list(early_stopping)),
            name=name,
            followers=Followers(on_change, self.callbacks),
        )
        self.state = TrainingState(source, control, self._thread)

    def start(self) -> None:
        """Start training and return at once. Raises RunError if it was started before."""
        with HeldInterrupts(), self._thread.changed:
            if self._thread.was_launched:
                raise RunError(
                    f"{self.name} is {self.state.status} already",
                    "more(rounds=5) goes on where it ended",
                )
            self._thread.launch()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it has ended, or for `timeout` seconds; raise the error that ended it.

        An interrupt (■, Ctrl-C) stops it between two batches, and raises Interrupted after that.
        Raises RunError for a run that is paused, since nobody could resume it meanwhile.
        """
        thread = self._thread

        def is_held() -> bool:
            return timeout is None and self.state.status == "paused" and not thread.hold_after_round

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
                or (
                    self.state.status == "paused"
                    and thread.progress.num_told == thread.progress.num_whole
                )
            )
        )

    def rest(self) -> None:
        """Wait until it has ended, through every pause: for somebody else can resume it."""
        thread = self._thread
        thread.wait_until(lambda: thread.is_at_rest)

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
            if self.state.status != "running":
                raise RunError(
                    f"{self.name} is {self.state.status}, so there is nothing to pause",
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
            if self.state.status != "paused":
                raise RunError(
                    f"{self.name} is {self.state.status}, not paused",
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
            thread.wait_until(lambda: thread.progress.num_told > done or thread.is_at_rest)
        if self.state.error is not None:
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
        if self.state.status == "paused":  # no round follows that would show the new number
            self._on_change()

    def _begin_step(self) -> int | None:
        """Begin a step; return the number of whole rounds before it, or None while the run ends."""
        thread = self._thread
        with HeldInterrupts(), thread.changed:
            if self.state.status == "running":
                raise RunError(f"{self.name} is running", "pause() it first")
            if self.state.status == "paused":
                thread.hold_after_round = True
                self._control.resume()
                thread.changed.notify_all()
                return thread.progress.num_whole
            if not thread.is_at_rest:
                return None
            done = len(self.state.records)
            if self.state.reason and self.state.error is None:
                thread.goal.early_stopping = []  # it ended the run, and more rounds are wanted
            thread.goal.rounds = max(thread.goal.rounds, done + 1)
            self._source.plan(thread.goal.rounds, after=done)
            thread.launch(one_round=True)
            return thread.progress.num_whole

    def _add_rounds(self, rounds: int) -> bool:
        """Add rounds to the target; return False while the run is ending."""
        thread = self._thread
        with HeldInterrupts(), thread.changed:
            is_under_way = thread.is_training and not self._control.is_stopping
            if not is_under_way and not thread.is_at_rest:
                return False
            thread.goal.early_stopping = []
            begin = thread.goal.rounds if is_under_way else len(self.state.records)
            thread.goal.rounds = begin + rounds
            self._source.plan(thread.goal.rounds, after=begin)
            if is_under_way:
                thread.ending.reason = ""
            else:
                thread.launch()
            return True

    def _join(self) -> None:
        self._thread.wait_until(lambda: self._thread.is_at_rest)

    def _raise_error(self) -> None:
        if self.state.error is not None and self._thread.is_done:
            raise self.state.error.with_traceback(self._thread.ending.traceback)

    def _interrupted(self) -> Interrupted:
        """Return the error that tells of an interrupt."""
        if not self._thread.is_done:
            return Interrupted(
                f"{self.name} stops as soon as it can, after the batch that it is in",
                f"{self.name}.status tells when it has",
            )
        done, planned = len(self.state.records), self.state.planned
        left = planned - done
        return Interrupted(
            f"{self.name} was stopped after round {done} of {planned}, whose model it holds",
            f"{self.name}.more({left}) goes on where it stopped"
            if left
            else "it had all its rounds",
        )
