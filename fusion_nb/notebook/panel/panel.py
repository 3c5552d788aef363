"""The panel: a run configured, looked at, launched, steered, compared and taken away without typing
code.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from fusion_nb.core import cell_output
from fusion_nb.errors import Interrupted, OptionError, RunError
from fusion_nb.notebook import saved
from fusion_nb.notebook.panel import messages
from fusion_nb.notebook.panel.background import Worker
from fusion_nb.notebook.panel.variables import Variables
from fusion_nb.notebook.panel.view import View
from fusion_nb.runs import session
from fusion_nb.runs.preview import Preview, look
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec

#: Panels that are about to let a run go on, and what is held while one decides to: two clicks never
#: begin two runs.
_launching: list[Panel] = []
_deciding = threading.RLock()
#: Cell -> its last execution, and the panel that it showed.
_of_cells: dict[str, tuple[str, Panel]] = {}


class Panel:
    """A face of `RunSpec` and `Run`: shows itself at the end of a cell, and does what its buttons
    do.

    model, data: names of variables, data sets or files as in a cell, or the objects themselves
    options:     other options of a run, to begin with (`rounds=5`, `split="dirichlet:alpha=0.3"`)
    namespace:   where names are looked up and runs are bound to; the notebook's variables unless
                 given

    Every button is a method too, so that a notebook can drive it: `panel.start(); panel.wait()`.
    `run` is the run that it shows, or None; a new panel takes the one that is under way, if there
    is one.
    """

    def __init__(
        self,
        model: Any = None,
        data: Any = None,
        *,
        namespace: MutableMapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._variables = Variables(namespace)
        for option, value in {"model": model, "data": data}.items():
            if value is not None:
                options[option] = (
                    value if isinstance(value, str) else self._variables.name_of(option, value)
                )
        self.run: Run | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._told, self._is_called_off = "", False
        self._lock = threading.Lock()
        self._worker = Worker(self._worked)
        self._view = View(self, self._variables.names)
        self._form = self._view.form
        self._form.load(options)
        if under_way := [run for run in session.RUNS.values() if run.status in session.UNDER_WAY]:
            self._follow(under_way[-1])
        elif offered := saved.offer():
            self._view.say(messages.plain(offered))
        self._refresh()

    @property
    def spec(self) -> RunSpec:
        """The run that the controls describe. Raises OptionError for what is not allowed."""
        return self._form.spec()

    @property
    def status(self) -> str:
        """idle, preparing, or that of its run: running, paused, finished, stopped or failed."""
        run = self.run
        if self in _launching and (run is None or run.status not in session.UNDER_WAY):
            return "preparing"
        return "idle" if run is None else run.status

    def set(self, **options: Any) -> None:
        """Set options as their controls do, and leave the others. Raises OptionError, with nothing
        changed.
        """
        self._form.load(self._form.options() | options)

    def load(self, run: Run) -> None:
        """Put a run's options into the controls; model and data are the variables that have these
        names now.
        """
        self._form.load(run.spec.model_dump(exclude_defaults=True, exclude={"code"}))
        self._view.say(messages.plain(f"the options of {run.name} are in the controls"))

    def preview(self) -> Preview:
        """Return, and show, the split, warnings and the cost of the run that the controls
        describe.
        """
        spec, names = self.spec, self._variables.snapshot()
        with self._form.marking():
            found = look(spec, names)
        self._view.looking.show(found)
        return found

    def start(self) -> None:
        """Begin the run that the controls describe, and return at once; `wait` waits for it.

        Raises OptionError for what is not allowed, and RunError while another run is going.
        """
        spec = self.spec
        self.begin(lambda: spec)

    def wait(self, timeout: float | None = None) -> None:
        """Wait for what was begun, each part of it at most `timeout` seconds; raise its error, if
        it had one.

        An interrupt (■, Ctrl-C) stops the run and raises Interrupted.
        """
        try:
            is_done = self._worker.wait(timeout)
        except KeyboardInterrupt:
            self.stop()
            raise Interrupted(
                "the panel was stopped before a run began", "start() begins one"
            ) from None
        try:
            if is_done and self.run is not None:
                self.run.wait(timeout)
        finally:
            # Once more from the cell that waits: whoever runs a notebook without a person hears of
            # no other.
            self._view.shown.renew()

    def pause(self) -> None:
        """Hold the run between two batches. Raises RunError when it is not running."""
        self._its_run().pause()

    def resume(self) -> None:
        """Go on after a pause. Raises RunError when it is not paused, or while another run is
        going.
        """
        with _deciding:
            self._check_alone(self._its_run())
            self._its_run().resume()

    def step(self) -> None:
        """Train one round, hold again, and return at once. Raises RunError while a run is going."""
        with _deciding:
            self._check_alone()
            run = self._its_run()
            self._launch("beginning a round", lambda: run.step(wait=False))

    def more(self, rounds: int = 5) -> None:
        """Add rounds to the run, and return at once. Raises RunError while another run is going."""
        with _deciding:
            run = self._its_run()
            self._check_alone(run)
            self._launch("adding rounds", lambda: run.more(rounds))

    def stop(self) -> None:
        """Stop between two batches, keeping the last whole round; or call off what is being
        prepared.
        """
        self._is_called_off = True
        if self.run is not None:
            self.run.stop(wait=False)

    def change(self, **options: Any) -> None:
        """Change lr, epochs, fraction or fusion from the next round on. Raises OptionError for what
        can't be.
        """
        if not options:
            raise OptionError(
                "nothing was given that is to change",
                "give one or several of lr, epochs, fraction, fusion",
            )
        self._its_run().change(**options)
        self._view.say(
            messages.plain(
                "from the next round on: "
                f"{', '.join(f'{n} {value}' for n, value in options.items())}"
            )
        )

    def export(
        self,
        path: str = "fused",
        format: str | Sequence[str] = "",
        *,
        which: str = "last",
        overwrite: bool = False,
    ) -> list[Path]:
        """Write the fused model, a card, the history and the chart into a new folder, and return
        the files.

        Raises ExportError before anything is written, and RunError while the run is going.
        """
        run = self._its_run()
        if run.status == "running":
            raise RunError(f"{run.name} is running", "pause or stop it first, or wait for its end")
        files = run.export(path, format, which=which, overwrite=overwrite)
        self._view.taking.list_files(files)
        return files

    def _ipython_display_(self) -> None:
        cell, execution = cell_output.current_cell()
        before = _of_cells.get(cell)
        if cell and before is not None and before[0] != execution:
            # The cell was run again: what it showed is gone from the page, and its run goes on
            # here.
            before[1]._leave()
            if self.run is None and before[1].run is not None:
                self._follow(before[1].run)
        _of_cells[cell] = execution, self
        self._worker.tie = cell_output.bind_output()
        self._view.display()

    def __repr__(self) -> str:
        return f"<Panel: {self.status if self.run is None else self.run.result().headline()}>"

    def begin(self, read: Callable[[], RunSpec]) -> None:
        """Begin the run that `read()` returns when it is called in the panel's own thread, and
        return at once.

        Raises RunError while another run is going.
        """
        with _deciding:
            if self.run is not None and self.run.status == "paused":
                raise RunError(f"{self.run.name} is paused", "resume or stop it first")
            self._check_alone()
            names = self._variables.snapshot()
            self._is_called_off = False
            self._launch("preparing a run", lambda: self._make_and_start(read(), names))

    def work(self, doing: str, action: Callable[[], object]) -> None:
        """Do something in the panel's own thread. Raises RunError while something else is being
        done.
        """
        self._worker.do(doing, action)
        self._refresh()

    def _its_run(self) -> Run:
        if self.run is None:
            raise RunError("the panel has no run yet", "start() begins one")
        return self.run

    def _check_alone(self, but: Run | None = None) -> None:
        """Raise RunError while a run is going, other than the given one, or about to."""
        if going := [
            run.name for run in session.RUNS.values() if run.status == "running" and run is not but
        ]:
            raise RunError(f"{going[-1]} is running", "wait for its end, or stop it first")
        if _launching:
            raise RunError("a run is about to begin", "wait a moment")

    def _launch(self, doing: str, action: Callable[[], object]) -> None:
        """Let a run go on; until it does, no other panel's may. Called while deciding."""

        def launch() -> None:
            try:
                action()
            finally:
                with _deciding:
                    _launching.remove(self)

        _launching.append(self)
        try:
            self.work(doing, launch)
        except RunError:
            _launching.remove(self)
            raise

    def _make_and_start(self, spec: RunSpec, names: dict[str, Any]) -> None:
        """Make a run and start it; in the panel's own thread."""
        self._view.say(
            messages.plain("preparing: reading the data, and trying the model on a few rows")
        )
        name = session.new_name("", self._variables.namespace)
        with self._form.marking():
            run = Run(spec, names, name=name, is_cached=True)
        if self._is_called_off:
            self._view.say(messages.plain("called off before it began"))
            return
        session.remember(run)
        self._variables.namespace[name] = run
        self._follow(run)
        self._view.say(
            messages.plain(
                f"bound to the variable {name}: {name}.model, {name}.history, {name}.parties, ..."
            )
        )
        run.start()

    def _leave(self) -> None:
        """Hear no more of the run."""
        self._view.watch.leave()
        self._unsubscribe()

    def _follow(self, run: Run) -> None:
        """Show this run from now on."""
        self._leave()
        self.run = run
        self._view.watch.follow(run)
        self._unsubscribe = run.subscribe(self._hear)
        self._refresh()

    def _hear(self, run: Run) -> None:
        if run is self.run:
            self._refresh()

    def _worked(self, error: BaseException | None) -> None:
        if error is not None:
            self._view.say(messages.of_error(error))
        self._refresh()

    def _refresh(self) -> None:
        """Show where things stand; called from any thread, and costs something only where they have
        changed.
        """
        with self._lock:
            told = f"{self.status} {self._worker.doing} {id(self.run)}"
            if told != self._told:
                self._told = told
                self._view.refresh(self.status, self._worker.doing, self.run)
