"""The panel: configure, preview, start, steer, compare and export runs without typing code."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fusion_nb.core.process import cell_output
from fusion_nb.errors import FusionError, OptionError, RunError, option
from fusion_nb.notebook import kernel
from fusion_nb.notebook.panel.experiments.tab import ExperimentTab
from fusion_nb.notebook.panel.labels import spelling
from fusion_nb.notebook.panel.launching import check_alone, deciding
from fusion_nb.notebook.panel.recipes import NewRun
from fusion_nb.notebook.panel.run_controller import RunController
from fusion_nb.notebook.panel.saved_runs import SavedRuns
from fusion_nb.notebook.panel.screen import Screen
from fusion_nb.notebook.panel.variables import Variables
from fusion_nb.notebook.panel.view import View
from fusion_nb.runs import session
from fusion_nb.runs.changes import CHANGEABLE
from fusion_nb.runs.preview import Preview, look
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec, named

#: Cell -> its last execution, and the panel that it showed.
_of_cells: dict[str, tuple[str, Panel]] = {}


class Panel:
    """A configuration of a run with buttons; it is displayed as the last value of a cell.

    model, data: names of variables, data sets or files as in a cell, or the objects themselves
    options:     other options of a run, as initial values (`rounds=5`, `split="dirichlet:0.3"`)
    namespace:   where names are looked up and runs are bound; the notebook's variables unless given

    Every button is a method too, so that a notebook can drive it: `panel.start(); panel.wait()`.
    A new panel shows the run that is running or paused, if there is one, and its options.
    """

    def __init__(
        self,
        model: Any = None,
        data: Any = None,
        *,
        namespace: MutableMapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        kernel.install()
        self._variables = Variables(namespace)
        for name, value in {"model": model, "data": data}.items():
            if value is not None:
                is_name = isinstance(value, str)
                options[name] = value if is_name else self._variables.name_of(name, value)
        self._runs = RunController(self._variables, lambda: self._view)
        self._view = View(self, self._runs, self._variables)
        self._view.form.load(options)
        under_way = [run for run in session.RUNS.values() if run.status in session.UNDER_WAY]
        if under_way:
            with suppress(FusionError):  # its model or data may be gone
                self._view.form.load(options_of(under_way[-1]))
            self._runs.follow(under_way[-1])
        self._view.saved_box.look()
        self._runs.refresh()

    @property
    def run(self) -> Run | None:
        """The run that the panel shows, or None."""
        return self._runs.run

    @property
    def spec(self) -> RunSpec:
        """The run that the controls describe.

        Raises OptionError for a value that is not allowed.
        """
        return self._view.form.spec()

    @property
    def status(self) -> str:
        """idle, preparing, or that of its run: running, paused, finished, stopped or failed."""
        return self._runs.status

    @property
    def saved(self) -> SavedRuns:
        """The runs on disk that were cut short: `find`, `resume` and `discard`."""
        return self._view.saved_box.saved

    @property
    def experiment(self) -> ExperimentTab:
        """The tab of experiments: `start`, `stop`, `go_on`, `wait`, `take_best`, and `made`."""
        return self._view.experiment_tab

    @property
    def screen(self) -> Screen:
        """The texts, controls and buttons that it shows, read-only."""
        return Screen(self._view)

    def set(self, **options: Any) -> None:
        """Set options as their controls do, and leave the others.

        Raises OptionError, with nothing changed.
        """
        self._view.form.load(self._view.form.options() | named(options))

    def load(self, run: Run) -> None:
        """Put a run's options into the controls.

        Model and data are the variables that have these names now.
        """
        self._view.form.load(options_of(run))
        self._view.say(f"the options of {run.name} are in the controls")

    def preview(self) -> Preview:
        """Show, and return, the split, the warnings and the cost of the configured run.

        Raises a FusionError where the run could not be made.
        """
        spec, names = self.spec, self._variables.snapshot()
        with self._view.marking():
            preview = look(spec, names)
        self._view.preview_tab.show(preview)
        return preview

    def start(self) -> None:
        """Begin the run that the controls describe, and return at once; `wait` waits for it.

        Raises OptionError for a value that is not allowed, and RunError while another run is
        running.
        """
        spec = self.spec
        self._runs.begin(lambda: NewRun(spec))

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the work that was begun, each part of it at most `timeout` seconds.

        Raises the error of that work, if it had one. An interrupt (■, Ctrl-C) stops the run and
        raises Interrupted.
        """
        try:
            self._runs.wait(timeout)
        finally:
            # Once more from the cell that waits: a program that executes a notebook sees the
            # outputs of no other cell.
            self._view.output.send_again()

    def pause(self) -> None:
        """Pause the run between two batches. Raises RunError when it is not running."""
        self._runs.current().pause()

    def resume(self) -> None:
        """Continue after a pause.

        Raises RunError when the run is not paused, or while another run is running.
        """
        with deciding:
            run = self._runs.current()
            check_alone(run)
            run.resume()

    def step(self) -> None:
        """Train one round, pause again, and return at once.

        Raises RunError while a run is running.
        """
        with deciding:
            check_alone()
            run = self._runs.current()
            self._runs.launch("beginning a round", lambda: run.step(wait=False))

    def more(self, rounds: int = 5) -> None:
        """Add rounds to the run, and return at once.

        Raises RunError while another run is running.
        """
        with deciding:
            run = self._runs.current()
            check_alone(run)
            self._runs.launch("adding rounds", lambda: run.more(rounds))

    def stop(self) -> None:
        """Stop between two batches and keep the last whole round.

        A run that is being prepared is cancelled.
        """
        self._runs.stop()

    def change(self, **options: Any) -> None:
        """Change lr, epochs, fraction or fusion from the next round on.

        Raises OptionError for other options, and for values that are not allowed.
        """
        if not options:
            raise OptionError(
                "no option was given that could change",
                f"give one or several of {', '.join(map(option, CHANGEABLE))}",
            )
        self._runs.current().change(**options)
        changes = ", ".join(spelling(name, value) for name, value in options.items())
        self._view.say(f"from the next round on: {changes}")

    def export(
        self,
        path: str | Path = "fused",
        format: str | Sequence[str] = "",
        *,
        which: str = "last",
        overwrite: bool = False,
    ) -> list[Path]:
        """Write the fused model, a card, the history and the chart, and return the files.

        path: a new folder for them
        Raises ExportError before anything is written, and RunError while the run is running.
        """
        run = self._runs.current()
        if run.status == "running":
            raise RunError(f"{run.name} is running", "pause or stop it first, or wait for its end")
        files = run.export(path, format, which=which, overwrite=overwrite)
        self._view.export_tab.list_files(files)
        return files

    def _ipython_display_(self) -> None:
        cell, execution = cell_output.current_cell()
        last_execution, before = _of_cells.get(cell, ("", self))
        if cell and before is not self and last_execution != execution:
            # The cell was run again: its last output is gone from the page, and its run continues
            # here.
            before._runs.leave()
            before._view.run_view.leave()
            if self.run is None and before.run is not None:
                self._runs.follow(before.run)
        _of_cells[cell] = execution, self
        self._runs.bind_output()
        self._view.display()

    def __repr__(self) -> str:
        return f"<Panel: {self.status if self.run is None else self.run.result().headline()}>"


def options_of(run: Run) -> dict[str, Any]:
    """Return the options of a run that differ from the defaults, without the cell's body."""
    return run.outcome.specs.asked().model_dump(exclude_defaults=True, exclude={"code"})
