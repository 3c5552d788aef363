"""The steering of a run: it is started, waited for, held, changed and followed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, TypeVar

from fusion_nb.engines.progress import Progress, ProgressEngine
from fusion_nb.errors import python_spelling, spelled_in
from fusion_nb.runs import changes
from fusion_nb.runs.callbacks.own import as_callback
from fusion_nb.runs.privacy.more import check_more
from fusion_nb.runs.run_parts import RunParts

Function = TypeVar("Function", bound=Callable[..., Any])


class Steering(RunParts):
    """The calls that start, hold, change and follow a run."""

    def start(self) -> Self:
        """Start training in the background and return at once. Raises RunError if it was started
        before.
        """
        self.training.start()
        return self

    def wait(self, timeout: float | None = None) -> Self:
        """Wait until it has ended, or for `timeout` seconds; raise the error that ended it.

        An interrupt (■, Ctrl-C) stops it between two batches, and raises Interrupted after that.
        Raises RunError for a run that is paused, since nobody could resume it meanwhile.
        """
        with spelled_in(python_spelling):
            self.training.wait(timeout)
        return self

    def stop(self, wait: bool = True) -> Self:
        """Stop between two batches and keep the last whole round. One that has ended stays so."""
        self.training.stop(wait)
        return self

    def pause(self) -> Self:
        """Hold it between two batches until `resume` or `step`. Raises RunError unless it runs."""
        self.training.pause()
        return self

    def resume(self) -> Self:
        """Continue after a pause. Raises RunError when it is not paused."""
        self.training.resume()
        return self

    def step(self, wait: bool = True) -> Self:
        """Train to the end of the round that it is in, or of the next, and hold it there.

        wait: return then, or at once
        Raises RunError while it is running. An interrupt stops it, as in `wait`.
        """
        with spelled_in(python_spelling):
            self.training.step(wait)
        return self

    def more(self, rounds: int = 5) -> Self:
        """Add that many rounds, without early stopping, and train them in the background.

        A run under way gets them on top of those that it has left; one that ended continues after
        its last whole round. Raises RunError where they would exceed a budget of privacy.
        """
        with spelled_in(python_spelling):
            check_more(self.federation, rounds)
            self.training.more(rounds)
        return self

    def change(self, **options: Any) -> Self:
        """Change lr, epochs, fraction or fusion from the next round on; its record tells it.

        Raises OptionError for any other option, a value that is not allowed, or options that don't
        go together.
        """
        with spelled_in(python_spelling):
            self._source.check_request("change")
            changed, change = changes.change(self._changed, options)
            self._source.change(change)
        self._changed = changed
        return self

    def after_round(self, function: Function) -> Function:
        """Call a function `(run, record)` after each round; where it returns True, the run ends.

        It is used as a decorator, before or while the run trains. A function of the same name
        takes the place of an earlier one, as where a cell runs again. One that raises an error is
        called no more; the run goes on, and a note tells it.
        Raises OptionError for something that can't be called so.
        """
        self.callbacks.add(as_callback(function))
        return function

    def subscribe(self, listener: Callable[[Self], object]) -> Callable[[], None]:
        """Call `listener(run)` after every whole round, change of status, and rounds that are added
        in a pause.

        It is called in the thread where that happens. Return a function that ends the subscription.
        """
        return self._listeners.add(listener)

    def on_progress(self, listener: Callable[[Progress], None]) -> Callable[[], None]:
        """Call `listener` for every reply of a party within a round, in the training thread.

        Return a function that ends the subscription.
        """
        engine = self.federation.network.engine
        assert isinstance(engine, ProgressEngine)
        return engine.on_progress(listener)
