"""`%fusion` and `%%fusion`. Loading this must stay quick, so all that takes time is imported inside
functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, line_cell_magic, magics_class

from fusion_nb.models.quiet import hush, no_hush

if TYPE_CHECKING:
    from fusion_nb.notebook.options import Line
    from fusion_nb.runs.run import Run
    from fusion_nb.runs.spec import RunSpec


@magics_class
class FusionMagics(Magics):
    """The magics of one IPython shell. The runs they speak of are in `fusion_nb.runs.RUNS`, whoever
    made them.
    """

    @line_cell_magic
    def fusion(self, line: str, cell: str | None = None) -> Any:
        """Train one model over several parties. `%fusion help` lists commands and options."""
        from fusion_nb.errors import cell_spelling, spelled_in

        with spelled_in(cell_spelling):
            return self._fusion(line, cell)

    def _fusion(self, line: str, cell: str | None) -> Any:
        from fusion_nb.errors import OptionError
        from fusion_nb.notebook import options

        words = options.tokens(line)
        if cell is None and (not words or words[0] in ("help", "-h", "--help")):
            return self._help(words[1:])
        read = options.read(line)
        if cell is not None:
            if read.command != "run":
                raise OptionError(
                    f"%%fusion {read.command} takes no cell",
                    f"write %fusion {read.command} in one line",
                )
            return self._train(read, options.to_spec(read, cell))
        command: Callable[[Line], Any] = getattr(self, f"_{read.command}")
        return command(read)

    # Training

    def _run(self, line: Line) -> None:
        from fusion_nb.notebook import options

        self._train(line, options.to_spec(line))

    def _train(self, line: Line, spec: RunSpec, make: Callable[[str], Run] | None = None) -> None:
        """Run the body of a cell, make its run, and train it.

        make: returns the run of a name, where it is not a new one
        """
        from fusion_nb.errors import OptionError
        from fusion_nb.models import lookup
        from fusion_nb.runs.session import new_name, remember

        new_name(line.own.get("name", ""), self.shell.user_ns)
        if spec.code:
            before = dict(self.shell.user_ns)
            with lookup.seeded(spec.seed, spec.code):
                done = self.shell.run_cell(spec.code)
            if done.error_before_exec:
                raise OptionError(
                    "the cell's body can't be read, so nothing was trained", "see the error above"
                )
            if error := done.error_in_exec:
                # It was shown with its full traceback. The cell must fail, but not show it a second
                # time.
                error._render_traceback_ = lambda: [
                    "(the cell's body failed, so nothing was trained)"
                ]
                raise error
            if "model" not in line.options:
                lookup.check_defined(spec.model, before, self.shell.user_ns)
        # Again: the body may have taken the name meanwhile.
        name = new_name(line.own.get("name", ""), self.shell.user_ns)
        run = self._made(line, spec, name) if make is None else make(name)
        remember(run)
        self.shell.user_ns[name] = run
        self._show(run, run.start, background="background" in line.own, quiet="quiet" in line.own)
        # Binds `_` as a cell's value would, without showing the run a second time.
        self.shell.displayhook.update_user_ns(run)

    def _made(self, line: Line, spec: RunSpec, name: str) -> Run:
        from fusion_nb.runs.run import Run

        if "service" not in line.own:
            return Run(spec, self.shell.user_ns, name=name, is_cached=True)
        from fusion_nb.service.remote_run import RemoteRun

        return RemoteRun(spec, self.shell.user_ns, url=line.own["service"], name=name)

    def _show(self, run: Run, launch: Callable[[], Any], *, background: bool, quiet: bool) -> None:
        """Launch a run with a view of it in this cell's output, and wait for it unless it is for
        the background.
        """
        from IPython.display import display

        from fusion_nb.notebook.live import LiveView, draws_widgets

        widgets = draws_widgets()
        if not quiet and (widgets or background):
            LiveView(run, widgets=widgets)
        launch()
        if background:
            return
        try:
            run.wait()
        finally:
            if not quiet and not widgets:  # nobody saw it train; one static result is all there is
                display(run.result().mimebundle(), raw=True)

    # Steering

    def _stop(self, line: Line) -> None:
        print(self._chosen(line).stop())

    def _pause(self, line: Line) -> None:
        print(_status(self._chosen(line).pause()))

    def _resume(self, line: Line) -> None:
        if not self._names_saved_run(line):
            print(_status(self._chosen(line).resume()))
            return
        from fusion_nb.runs.checkpoints.resume import SavedSpec
        from fusion_nb.runs.checkpoints.saving import cache, find

        found = find(line.words[0] if line.words else "")
        is_cached = found.path.parent == cache()
        given = line.options if is_cached else {"checkpoint": str(found.path), **line.options}
        saved = SavedSpec.read(found.path, given)

        def make(name: str) -> Run:
            return saved.make_run(
                self.shell.user_ns,
                name=name,
                is_cached=is_cached,
                allow_other_rows="allow_other_rows" in line.own,
            )

        line.own.setdefault("name", self._free_name(saved.checkpoint.name))
        self._train(line, saved.spec, make)

    def _names_saved_run(self, line: Line) -> bool:
        """Return whether `resume` speaks of a run on disk, and not of one of this kernel."""
        from fusion_nb.runs.run import Run
        from fusion_nb.runs.session import RUNS

        if not line.words:
            return not RUNS
        name = line.words[0]
        return not (isinstance(self.shell.user_ns.get(name), Run) or name in RUNS)

    def _free_name(self, name: str) -> str:
        """Return the name of a run where it can be bound, or "" for another one."""
        from fusion_nb.errors import OptionError
        from fusion_nb.runs.session import new_name

        try:
            return new_name(name, self.shell.user_ns)
        except OptionError:
            return ""

    def _checkpoint(self, line: Line) -> None:
        from fusion_nb.runs.checkpoints import saving

        if line.words:
            saving.switch(line.words[0])
        folder = saving.cache()
        print("runs are not saved" if folder is None else f"runs are saved in {folder}")

    def _status(self, line: Line) -> None:
        print(_status(self._chosen(line)))

    def _more(self, line: Line) -> None:
        from fusion_nb.runs.spec import RunSpec

        run = self._chosen(line)
        rounds = RunSpec(rounds=line.options.get("rounds", 5)).rounds
        if run.status == "paused":
            print(_status(run.more(rounds)))
            return
        self._show(run, lambda: run.more(rounds), background="background" in line.own, quiet=False)

    # Looking

    def _panel(self, line: Line) -> Any:
        from fusion_nb.notebook import options
        from fusion_nb.notebook.panel import Panel

        return Panel(
            namespace=self.shell.user_ns, **options.to_spec(line).model_dump(exclude_unset=True)
        )

    def _split(self, line: Line) -> Any:
        from fusion_nb.notebook import options
        from fusion_nb.runs.build import divide
        from fusion_nb.runs.preview import split_chart

        division = divide(options.to_spec(line), self.shell.user_ns)
        for note in division.notes:
            print(note)
        if missing := division.missing_classes():
            print(f"warning: no party has a training row of class {', '.join(missing)}")
        return split_chart(division)

    def _runs(self, line: Line) -> None:
        from fusion_nb.notebook import saved
        from fusion_nb.runs.session import RUNS

        lines = [_status(run) for run in RUNS.values()]
        lines += saved.listing([run.storage_folder for run in RUNS.values()])
        print("\n".join(lines) or "no run yet: %%fusion makes one")

    def _compare(self, line: Line) -> Any:
        from fusion_nb.errors import RunError
        from fusion_nb.runs.session import RUNS, compare

        chosen = {name: self._named(name) for name in line.words} or RUNS
        if not chosen:
            raise RunError("there is no run to compare", "%%fusion makes one")
        return compare(chosen)

    def _export(self, line: Line) -> None:
        from fusion_nb.errors import OptionError

        if not line.words:
            raise OptionError("%fusion export needs a folder", "write %fusion export run my_folder")
        *name, folder = line.words
        formats = line.own["format"].split(",") if "format" in line.own else ""
        run = self._named(name[0]) if name else self._latest()
        written = run.export(
            folder, formats, which=line.own.get("which", "last"), overwrite="overwrite" in line.own
        )
        print("\n".join(str(path) for path in written))

    def _list(self, line: Line) -> None:
        from fusion_nb.notebook import explain

        print(explain.listing(line.words))

    def _help(self, names: list[str]) -> None:
        from fusion_nb.notebook import explain, options

        print("\n".join(explain.component(name) for name in names) or options.usage())

    # Runs by name

    def _chosen(self, line: Line) -> Run:
        return self._named(line.words[0]) if line.words else self._latest()

    def _latest(self) -> Run:
        from fusion_nb.errors import RunError
        from fusion_nb.runs.session import RUNS

        if not RUNS:
            raise RunError("there is no run yet", "%%fusion makes one")
        return next(reversed(RUNS.values()))

    def _named(self, name: str) -> Run:
        from fusion_nb.errors import NameNotFoundError, nearest
        from fusion_nb.runs.run import Run
        from fusion_nb.runs.session import RUNS

        there = self.shell.user_ns.get(name)
        found = there if isinstance(there, Run) else RUNS.get(name)
        if found is not None:
            return found
        raise NameNotFoundError(
            f"no run is called {name!r}",
            f"{nearest(name, RUNS)}there are: {', '.join(RUNS) or 'none yet'}",
        )


def _status(run: Run) -> str:
    from fusion_nb.notebook.live import status_text

    return status_text(run)


def load(ip: Any) -> None:
    """Register the magics in a shell, once."""
    if any(isinstance(found, FusionMagics) for found in ip.magics_manager.registry.values()):
        return
    ip.register_magics(FusionMagics)
    hush()
    if getattr(ip, "Completer", None) is not None:
        from fusion_nb.notebook.complete import matcher

        made = matcher(ip.user_ns)
        ip.Completer.custom_matchers.append(made)
        ip.magics_manager.registry["FusionMagics"].matcher = made


def unload(ip: Any) -> None:
    """Take the magics away again; runs that are bound to variables stay usable."""
    magics = ip.magics_manager.registry.pop("FusionMagics", None)
    if magics is None:
        return
    no_hush()
    for kind in ("line", "cell"):
        ip.magics_manager.magics[kind].pop("fusion", None)
    if getattr(magics, "matcher", None) in getattr(ip.Completer, "custom_matchers", ()):
        ip.Completer.custom_matchers.remove(magics.matcher)
