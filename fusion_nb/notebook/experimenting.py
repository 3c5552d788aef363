"""`%fusion sweep`, `%%fusion --seeds`, and the commands that steer an experiment."""

from __future__ import annotations

import re
import threading
from collections import ChainMap
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from IPython.display import display

from fusion_nb.errors import OptionError, option
from fusion_nb.notebook import comparing
from fusion_nb.notebook.choosing import experiment_named
from fusion_nb.notebook.kernel import draws_widgets, repaints_only_for_cells
from fusion_nb.notebook.options import Line
from fusion_nb.reporting.result import Text
from fusion_nb.runs import spec as run_spec
from fusion_nb.runs.experiments import calls
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.given import check_present
from fusion_nb.runs.experiments.processes import needed_names
from fusion_nb.runs.experiments.spec import OWN, ExperimentSpec
from fusion_nb.runs.experiments.training import Workshop
from fusion_nb.runs.handle import ENDED, UNDER_WAY
from fusion_nb.runs.session import RUNS

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from fusion_nb.notebook.panel.experiments.view import ExperimentProgress  # it imports widgets

#: Runs the body of a cell with the options of a spec.
RunBody = Callable[["InteractiveShell", run_spec.RunSpec, Line], object]
#: Commands that steer a run, and an experiment too.
_STEERING = ("stop", "pause", "resume", "status")
#: Seconds of one wait for an experiment, in which a page that repaints for cells alone is drawn.
_PAUSE = 0.5


def concerns(shell: InteractiveShell, line: Line) -> bool:
    """Return whether a line is about an experiment, and not about one run."""
    if line.command == "sweep":
        return True
    if line.command == "run":
        of_file = run_spec.from_file(line.own["config"]) if "config" in line.own else {}
        return any(name in OWN for name in (*line.own, *of_file))
    if line.command == "compare":
        return comparing.concerns(shell, line.words)
    if line.command in _STEERING and line.words:
        is_folder = line.command == "resume" and ExperimentFolder.is_one(line.words[0])
        return is_folder or any(experiment_named(shell, word) is not None for word in line.words)
    return line.command in _STEERING and _latest_is_experiment()


def execute(shell: InteractiveShell, line: Line, body: str, run_body: RunBody) -> Any:
    """Execute a line that is about an experiment, and return the value that the cell shows."""
    if line.command in ("sweep", "run"):
        return _begin(shell, line, body, run_body)
    if line.command == "compare":
        return comparing.compare_named(shell, line.words)
    if line.command == "resume" and line.words and ExperimentFolder.is_one(line.words[0]):
        return _take_up(shell, line, run_body)
    latest = next(reversed(calls.EXPERIMENTS.values()), None)
    found = experiment_named(shell, line.words[0]) if line.words else latest
    assert found is not None
    if line.command == "status" and "follow" in line.own and found.status == "running":
        return _show(found, lambda: None, background=False, quiet=False)
    if line.command == "resume" and found.status == "stopped":
        return _show(found, found.start, background=False, quiet=False)
    if line.command != "status":
        {"stop": found.stop, "pause": found.pause, "resume": found.resume}[line.command]()
    return Text(found.headline())


def listing() -> list[str]:
    """Return a line for each experiment of this notebook."""
    return [each.headline() for each in calls.EXPERIMENTS.values()]


def joined_lists(text: str) -> str:
    """Return an option line without blanks inside of brackets: `--lr [0.01, 0.1]` is one value.

    >>> joined_lists("sweep --lr [0.01, 0.1] --rounds 3")
    'sweep --lr [0.01,0.1] --rounds 3'
    """
    return re.sub(r"\[[^\[\]\n]*\]", lambda found: re.sub(r"\s+", "", found[0]), text)


def _begin(shell: InteractiveShell, line: Line, body: str, run_body: RunBody) -> None:
    of_file = run_spec.from_file(line.own["config"]) if "config" in line.own else {}
    own = {name: value for name, value in line.own.items() if name in OWN}
    options = of_file | line.options | own
    if body.strip():
        options["code"] = body
    if "service" in line.own:
        raise OptionError(
            f"{option('service')} trains one run at a time", "leave it out for an experiment"
        )
    spec = ExperimentSpec.of(options, varies=line.command == "sweep", namespace=shell.user_ns)
    _launch(shell, line, spec, run_body)


def _take_up(shell: InteractiveShell, line: Line, run_body: RunBody) -> None:
    """Go on with an experiment that was saved in a folder."""
    about = ExperimentFolder(line.words[0]).about()
    saved = {**about["spec"], "checkpoint": line.words[0], **line.options}
    check_present(saved, shell.user_ns, line.words[0])
    named = replace(line, own={"name": str(about["name"]), **line.own})
    _launch(shell, named, ExperimentSpec.of(saved, namespace=shell.user_ns), run_body)


def _launch(shell: InteractiveShell, line: Line, spec: ExperimentSpec, run_body: RunBody) -> None:
    first, built_with = spec.first(), None
    name = _free_name(shell, line.own.get("name", ""))
    if first.code:
        run_body(shell, first, line)
        built_with = first.seed_for("weights")
    # Cells that are run meanwhile may bind the names that its options mention to something else.
    names = ChainMap(needed_names(spec, shell.user_ns), shell.user_ns)
    made = Experiment(spec, names, name=name, workshop=Workshop(names, built_with))
    calls.remember(made)
    shell.user_ns[name] = made
    _show(made, made.start, background="background" in line.own, quiet="quiet" in line.own)


def _free_name(shell: InteractiveShell, given: str) -> str:
    """Return the variable to bind an experiment to. Raises OptionError for one that is taken."""
    name = calls.free_name(given, shell.user_ns)
    if not name.isidentifier():
        raise OptionError(
            f"{option('name', repr(name))} can't name a variable",
            "use letters, digits and underscores",
        )
    present = shell.user_ns.get(name)
    if present is not None and not isinstance(present, Experiment):
        raise OptionError(
            f"the variable {name!r} holds {type(present).__name__}, not an experiment",
            f"use another {option('name')}",
        )
    return name


def _show(made: Experiment, launch: Callable[[], object], *, background: bool, quiet: bool) -> None:
    """Launch an experiment with a view of it in this cell's output.

    background: return at once;  quiet: show nothing
    """
    view = None if quiet else ExperimentView(made)
    launch()
    if background:
        return
    try:
        while made.status == "running":
            made.wait(_PAUSE)
            if view is not None and repaints_only_for_cells():
                view.refresh()
        made.wait()
    except KeyboardInterrupt:  # between two waits
        made.stop()
        raise
    finally:
        if view is not None:
            view.refresh(is_last=made.status in ENDED)


class ExperimentView:
    """Shows an experiment in a cell's output while it trains; at the end, its static result.

    Where nobody looks on, the end is all that is drawn.
    """

    def __init__(self, made: Experiment) -> None:
        self._made = made
        self._lock, self._is_over = threading.Lock(), False
        self._progress: ExperimentProgress | None = None
        line = f"{made.name} is running; its result will stand here"
        bundle: dict[str, Any] = {"text/plain": line}
        if draws_widgets():
            from fusion_nb.notebook.panel.experiments.view import ExperimentProgress

            self._progress = ExperimentProgress()
            self._progress.follow(made)
            view = {"version_major": 2, "version_minor": 0}
            view["model_id"] = self._progress.box.model_id
            bundle["application/vnd.jupyter.widget-view+json"] = view
        self._handle = display(bundle, raw=True, display_id=True)
        self._unsubscribe = made.subscribe(lambda _: self.refresh())

    def refresh(self, *, is_last: bool = False) -> None:
        """Show the experiment as it stands now."""
        with self._lock:
            if self._is_over:
                return
            if self._made.status in ENDED or is_last:
                self._is_over = True
                self._unsubscribe()
                self._end()
            elif self._progress is not None:
                self._progress.update()

    def _end(self) -> None:
        if self._progress is not None:
            self._progress.send_all()
        self._handle.update(self._made._repr_mimebundle_(), raw=True)
        if self._progress is not None:
            self._progress.close()


def _latest_is_experiment() -> bool:
    """Return whether an experiment is under way, and no run, or there are experiments alone."""
    if not calls.EXPERIMENTS or any(run.status in UNDER_WAY for run in RUNS.values()):
        return False
    is_under_way = any(each.status in UNDER_WAY for each in calls.EXPERIMENTS.values())
    return is_under_way or not RUNS
