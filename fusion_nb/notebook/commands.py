"""The commands of `%fusion`: one function each, which is given the shell and the line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.display import display

from fusion_nb.data.description import Statistics
from fusion_nb.errors import (
    OptionError,
    RunError,
    cell_spelling,
    spelled_in,
)
from fusion_nb.models import lookup
from fusion_nb.notebook import (
    auditing,
    experimenting,
    explain,
    following,
    option_text,
    options,
    saved,
)
from fusion_nb.notebook.choosing import chosen_run, latest_run, run_named
from fusion_nb.notebook.interrupting import in_one_line, run_body
from fusion_nb.notebook.kernel import draws_widgets, repaints_only_for_cells
from fusion_nb.notebook.live import LiveView, status_text
from fusion_nb.notebook.options import Line
from fusion_nb.reporting.charts import Chart
from fusion_nb.runs import session
from fusion_nb.runs.build import divide
from fusion_nb.runs.checkpoints import saving
from fusion_nb.runs.checkpoints.resume import SavedSpec
from fusion_nb.runs.preview import split_chart
from fusion_nb.runs.privacy.more import check_more
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from fusion_nb.notebook.panel import Panel


def execute(shell: InteractiveShell, text: str, cell: str | None = None) -> Any:
    """Execute an option line, and return the value that the cell shows.

    cell: the body of a `%%fusion` cell, or None for a line
    """
    with in_one_line(is_cell=cell is not None), spelled_in(cell_spelling):
        lines, body = option_text.split_cell(text, cell or "")
        text = experimenting.joined_lists(" ".join(lines))
        words = option_text.tokens(text)
        if cell is None and (not words or words[0] in ("help", "-h", "--help")):
            return show_help(words[1:])
        line = replace(options.read(text), num_lines=len(lines))
        if cell is not None and line.command not in _WITH_CELL:
            raise OptionError(
                f"%%fusion {line.command} takes no cell",
                f"write %fusion {line.command} in one line",
            )
        if experimenting.concerns(shell, line):
            return experimenting.execute(shell, line, body, _run_body)
        if cell is None:
            # IPython joins the lines of a `%` magic: a comment on the first hides those below.
            if hidden := option_text.in_comment(text, options.names()):
                print(f"note: {', '.join(hidden)} stands in a comment, and is not read")
            return COMMANDS[line.command](shell, line)
        return train(shell, line, options.to_spec(line, body))


def run(shell: InteractiveShell, line: Line) -> None:
    """Train with the options of the line."""
    train(shell, line, options.to_spec(line))


def train(
    shell: InteractiveShell,
    line: Line,
    spec: RunSpec,
    make: Callable[[str], Run] | None = None,
) -> None:
    """Run the cell's body, make a run of a spec, bind it to its variable, and show it training.

    make: returns the run of a name, where it is not a new one
    """
    wanted = line.own.get("name", "")
    session.new_name(wanted, shell.user_ns)  # refused before the body is run
    if spec.code:
        _run_body(shell, spec, line)
    name = session.new_name(wanted, shell.user_ns)  # again: the body may have taken it meanwhile
    if make is None:
        made = _make(shell, spec, name, service=line.own.get("service", ""))
    else:
        made = make(name)
    with made.training.stopping_on_interrupt():
        session.remember(made)
        shell.user_ns[name] = made
        _show(made, made.start, background="background" in line.own, quiet="quiet" in line.own)
    _bind_last_value(shell, made)


def stop(shell: InteractiveShell, line: Line) -> None:
    """Stop a run and keep its last whole round."""
    print(chosen_run(shell, line).stop())


def pause(shell: InteractiveShell, line: Line) -> None:
    """Pause a run between two batches."""
    print(status_text(chosen_run(shell, line).pause()))


def resume(shell: InteractiveShell, line: Line) -> None:
    """Continue a paused run, or one that was saved on disk."""
    if _names_saved_run(shell, line):
        _resume_saved(shell, line)
    else:
        print(status_text(chosen_run(shell, line).resume()))


def checkpoint(shell: InteractiveShell, line: Line) -> None:
    """Say where the runs of this notebook are saved, or switch that on or off."""
    if line.words:
        saving.switch(line.words[0])
    folder = saving.cache()
    print("runs are not saved" if folder is None else f"runs are saved in {folder}")


def status(shell: InteractiveShell, line: Line) -> None:
    """Print the round and the metrics of a run, or show it in this cell until it ends."""
    chosen = chosen_run(shell, line)
    if text := following.follow(chosen) if "follow" in line.own else status_text(chosen):
        print(text)


def more(shell: InteractiveShell, line: Line) -> None:
    """Train more rounds after the last one."""
    chosen = chosen_run(shell, line)
    rounds = RunSpec(rounds=line.options.get("rounds", 5)).rounds
    if cost := check_more(chosen.federation, rounds):
        print(cost)
    if chosen.status == "paused":
        print(status_text(chosen.more(rounds)))
        return
    background = "background" in line.own
    _show(chosen, lambda: chosen.more(rounds), background=background, quiet=False)


def panel(shell: InteractiveShell, line: Line) -> Panel:
    """Return a panel with the options of the line."""
    from fusion_nb.notebook.panel import Panel  # it imports ipywidgets

    given = options.to_spec(line).model_dump(exclude_unset=True)
    return Panel(namespace=shell.user_ns, **given)


def split(shell: InteractiveShell, line: Line) -> Chart:
    """Return a chart of the rows that each party would hold."""
    division = divide(options.to_spec(line), shell.user_ns)
    for note in (*division.notes, *division.skew_notes()):
        print(note)
    if missing := division.missing_classes():
        print(f"warning: no party has a training row of class {', '.join(missing)}")
    return split_chart(division)


def stats(shell: InteractiveShell, line: Line) -> Statistics:
    """Return the statistics of a table's columns, per party and together."""
    given = {"data": line.words[0]} if line.words else {}
    spec = options.to_spec(replace(line, options=given | line.options))
    return session.describe(spec, shell.user_ns, line.own.get("min_count", 5))


def runs(shell: InteractiveShell, line: Line) -> None:
    """Print one line for each run of this notebook, and for each on disk."""
    lines = [f"{status_text(each)}; {_setting(each)}" for each in session.RUNS.values()]
    lines += experimenting.listing()
    lines += saved.listing([each.storage.folder for each in session.RUNS.values()])
    print("\n".join(lines) or "no run yet: %%fusion makes one")


def _setting(run: Run) -> str:
    """Return the options that tell runs apart, in words."""
    spec, num_parties = run.spec, len(run.federation.parties)
    fusion = f"ensemble {spec.ensemble}" if spec.ensemble else spec.fusion
    word = "party" if num_parties == 1 else "parties"
    return f"{fusion} over {num_parties} {word}, split {spec.split}, seed {spec.seed}"


def compare(shell: InteractiveShell, line: Line) -> Chart:
    """Return a chart of several runs, or of all."""
    chosen = {name: run_named(shell, name) for name in line.words} or session.RUNS
    if not chosen:
        raise RunError("there is no run to compare", "%%fusion makes one")
    return session.compare(chosen)


def export(shell: InteractiveShell, line: Line) -> None:
    """Write the fused model and its card into a new folder."""
    if not line.words:
        raise OptionError("%fusion export needs a folder", "write %fusion export run my_folder")
    *name, folder = line.words
    formats = line.own["format"].split(",") if "format" in line.own else ""
    chosen = run_named(shell, name[0]) if name else latest_run()
    files = chosen.export(
        folder, formats, which=line.own.get("which", "last"), overwrite="overwrite" in line.own
    )
    print("\n".join(str(path) for path in files))


def show_list(shell: InteractiveShell, line: Line) -> None:
    """Print the names of components."""
    print(explain.listing(line.words))


def show_help(names: list[str]) -> None:
    """Print the help on names, or on everything."""
    print("\n".join(explain.component(name) for name in names) or options.usage())


#: Commands that may begin a cell; those of others stand in a line.
_WITH_CELL = ("run", "sweep")

#: Command -> the function that executes it.
COMMANDS: dict[str, Callable[[InteractiveShell, Line], Any]] = {
    "run": run,
    "sweep": lambda shell, line: experimenting.execute(shell, line, "", _run_body),
    "panel": panel,
    "split": split,
    "stats": stats,
    "status": status,
    "stop": stop,
    "pause": pause,
    "resume": resume,
    "more": more,
    "runs": runs,
    "checkpoint": checkpoint,
    "compare": compare,
    "audit": lambda shell, line: auditing.audit(chosen_run(shell, line), line.words[1:]),
    "export": export,
    "list": show_list,
    "help": lambda shell, line: show_help(line.words),
}


def _run_body(shell: InteractiveShell, spec: RunSpec, line: Line) -> None:
    """Run the cell's body, with all that it draws at random fixed by the seed."""
    before = dict(shell.user_ns)
    with lookup.seeded(spec.seed_for("weights"), spec.code):
        done = run_body(shell, spec.code, line.num_lines)
    if done.error_before_exec:
        raise OptionError(
            "the cell's body can't be read, so nothing was trained", "see the error above"
        )
    if error := done.error_in_exec:
        # IPython has shown its traceback. The cell must fail, but not show it a second time.
        error._render_traceback_ = lambda: ["(the cell's body failed, so nothing was trained)"]
        raise error
    if "model" not in line.options:
        lookup.check_defined(spec.model, before, shell.user_ns)


def _make(shell: InteractiveShell, spec: RunSpec, name: str, *, service: str) -> Run:
    if not service:
        return Run(spec, shell.user_ns, name=name, is_cached=True)
    from fusion_nb.service.remote_run import RemoteRun  # it needs an extra

    url = shell.user_ns.get(service, service) if service.isidentifier() else service
    return RemoteRun(spec, shell.user_ns, url=str(url), name=name)


def _show(made: Run, launch: Callable[[], object], *, background: bool, quiet: bool) -> None:
    """Launch a run with a view of it in this cell's output.

    background: return at once, and do not wait for the run;  quiet: show nothing
    """
    widgets = draws_widgets()
    if widgets and repaints_only_for_cells() and not quiet:
        _show_in_cell(made, launch, background=background)
        return
    with made.training.stopping_on_interrupt():
        if not quiet and (widgets or background):
            LiveView(made, widgets=widgets)
        launch()
        if background:
            return
        try:
            made.wait()
        finally:
            if not quiet and not widgets:  # nobody saw it train: this is the only output
                display(made.result().mimebundle(), raw=True)


def _show_in_cell(made: Run, launch: Callable[[], object], *, background: bool) -> None:
    """Launch a run, and show it as long as this cell waits for it."""
    with made.training.stopping_on_interrupt():
        launch()
        if background:
            print(f"{made.name} is running: %fusion status {made.name} --follow shows it")
            return
        following.wait_in(following.CellView(made), made)


def _bind_last_value(shell: InteractiveShell, made: Run) -> None:
    """Bind `_` as a cell's value would be, without showing the run a second time.

    It gets no place in `Out`, which would keep every run of a session alive.
    """
    hook = shell.displayhook
    hook.update_user_ns(made)
    shell.user_ns["_oh"].pop(hook.prompt_count, None)
    shell.drop_by_id({f"_{hook.prompt_count}": made})


def _names_saved_run(shell: InteractiveShell, line: Line) -> bool:
    """Return whether `resume` is about a run on disk, and not about one of this kernel."""
    if not line.words:
        return not session.RUNS
    name = line.words[0]
    return not (isinstance(shell.user_ns.get(name), Run) or name in session.RUNS)


def _resume_saved(shell: InteractiveShell, line: Line) -> None:
    """Train a run on disk to its planned end, with a view of it in this cell's output."""
    found = saving.find(line.words[0] if line.words else "")
    is_cached = found.path.parent == saving.cache()
    given = line.options if is_cached else {"checkpoint": str(found.path), **line.options}
    saved_spec = SavedSpec.read(found.path, given)

    def make(name: str) -> Run:
        return saved_spec.make_run(
            shell.user_ns,
            name=name,
            is_cached=is_cached,
            allow_other_rows="allow_other_rows" in line.own,
        )

    line.own.setdefault("name", _free_name(shell, saved_spec.checkpoint.name))
    train(shell, line, saved_spec.spec, make)


def _free_name(shell: InteractiveShell, name: str) -> str:
    """Return the name of a run where it can be bound, or "" for another one."""
    try:
        return session.new_name(name, shell.user_ns)
    except OptionError:
        return ""
