"""The run of a panel: begun, followed and steered in the panel's own thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Any, Protocol

from fusion_nb.core.process import cell_output
from fusion_nb.errors import Interrupted, OptionError, RunError
from fusion_nb.notebook.panel import launching
from fusion_nb.notebook.panel.background import BackgroundWorker
from fusion_nb.notebook.panel.launching import deciding
from fusion_nb.notebook.panel.recipes import Recipe
from fusion_nb.notebook.panel.variables import Variables
from fusion_nb.runs import session
from fusion_nb.runs.run import Run


class Display(Protocol):
    """The part of a panel that shows its run and messages; called from any thread."""

    def say_above(self, sentence: str) -> None:
        """Show a sentence above the tabs, in place of the last message."""

    def say_error(self, error: BaseException) -> None:
        """Show an error in place of the last message."""

    def marking(self) -> AbstractContextManager[None]:
        """Mark the option that an error belongs to."""

    def refresh(self, status: str, activity: str, run: Run | None) -> None:
        """Show a status of the panel, its activity, if it has one, and its run."""


class RunController:
    """Holds the run that a panel shows, or none, and begins, steers and follows it."""

    def __init__(self, variables: Variables, display: Callable[[], Display]) -> None:
        self.run: Run | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._variables = variables
        self._display = display
        self._worker = BackgroundWorker(self._ended)
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._shown: tuple[str, str, Run | None] | None = None

    @property
    def status(self) -> str:
        """idle, preparing, or that of its run: running, paused, finished, stopped or failed."""
        run = self.run
        if launching.is_launching(self) and (run is None or run.status not in session.UNDER_WAY):
            return "preparing"
        return "idle" if run is None else run.status

    def current(self) -> Run:
        """Return the run. Raises RunError where there is none."""
        if self.run is None:
            raise RunError("the panel has no run yet", "start() begins one")
        return self.run

    def begin(self, read: Callable[[], Recipe], delay: float = 0.0) -> None:
        """Begin the run of the recipe that `read()` returns in the panel's own thread.

        It returns at once.

        delay: seconds before `read()` is called
        Raises RunError while another run is running.
        """
        with deciding:
            if self.run is not None and self.run.status == "paused":
                raise RunError(f"{self.run.name} is paused", "resume or stop it first")
            launching.check_alone()
            names = self._variables.snapshot()
            self._cancelled.clear()
            self.launch("preparing a run", lambda: self._make_and_start(read(), names), delay)

    def launch(self, activity: str, action: Callable[[], object], delay: float = 0.0) -> None:
        """Let the run continue by an action in the panel's own thread, and return at once.

        Until then no other run may. It is called while `deciding` is held.
        """
        launching.launch(self, action, partial(self.work, activity, delay=delay))

    def stop(self) -> None:
        """Stop between two batches and keep the last whole round.

        A run that is being prepared is cancelled.
        """
        self._cancelled.set()
        if self.run is not None:
            self.run.stop(wait=False)

    def work(self, activity: str, action: Callable[[], object], delay: float = 0.0) -> None:
        """Do something in the panel's own thread. Raises RunError while it does something else.

        activity: the action in words, for messages;  delay: seconds before it is called
        """
        self._worker.begin(activity, action, delay)
        self.refresh()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the panel's thread is done, and then for the run.

        timeout: seconds for each of the two
        Raises the error of either. An interrupt stops the run and raises Interrupted.
        """
        try:
            is_done = self._worker.wait(timeout)
        except KeyboardInterrupt:
            self.stop()
            raise Interrupted(
                "the panel was stopped before a run began", "start() begins one"
            ) from None
        if is_done and self.run is not None:
            self.run.wait(timeout)

    def follow(self, run: Run) -> None:
        """Take over a run, and show it from now on."""
        self.leave()
        self.run = run
        self._unsubscribe = run.subscribe(self._update)
        self.refresh()

    def leave(self) -> None:
        """Stop following the run."""
        self._unsubscribe()

    def bind_output(self) -> None:
        """Let the panel's threads print into the cell that is running now."""
        self._worker.print_into(cell_output.bind_output())

    def refresh(self) -> None:
        """Show the state, if it has changed; called from any thread."""
        with self._lock:
            state = (self.status, self._worker.activity, self.run)
            if state != self._shown:
                self._shown = state
                self._display().refresh(*state)

    def _make_and_start(self, recipe: Recipe, names: dict[str, Any]) -> None:
        """Make a run and start it; in the panel's own thread."""
        display = self._display()
        display.say_above("preparing: reading the data, and trying the model on a few rows")
        known = set(names)
        name = _free_name(recipe.name, self._variables.namespace)
        with display.marking() if recipe.describes_controls else nullcontext():
            run, sentence = recipe.make(names, name)
        # The body of a saved run's cell may have made some.
        self._variables.add({key: names[key] for key in names.keys() - known})
        if self._cancelled.is_set():
            display.say_above("cancelled before it began")
            return
        session.remember(run)
        self._variables.namespace[name] = run
        self.follow(run)
        bound = f"bound to the variable {name}: {name}.model, {name}.history, {name}.parties, ..."
        display.say_above(f"{name} {sentence}; {bound}" if sentence else bound)
        run.start()

    def _update(self, run: Run) -> None:
        if run is self.run:
            self.refresh()

    def _ended(self, error: BaseException | None) -> None:
        if error is not None:
            self._display().say_error(error)
        self.refresh()


def _free_name(wanted: str, namespace: Mapping[str, Any]) -> str:
    """Return the variable to bind a run to: `wanted`, or another one where that is taken."""
    with suppress(OptionError):
        return session.new_name(wanted, namespace)
    return session.new_name("", namespace)
