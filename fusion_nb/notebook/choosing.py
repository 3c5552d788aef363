"""The run that a command is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion_nb.errors import NameNotFoundError, RunError, nearest
from fusion_nb.notebook.options import Line
from fusion_nb.runs import session
from fusion_nb.runs.experiments import calls
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.run import Run

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def chosen_run(shell: InteractiveShell, line: Line) -> Run:
    """Return the run that a line names, or the latest."""
    return run_named(shell, line.words[0]) if line.words else latest_run()


def latest_run() -> Run:
    """Return the run that was made last."""
    if not session.RUNS:
        raise RunError("there is no run yet", "%%fusion makes one")
    return next(reversed(session.RUNS.values()))


def run_named(shell: InteractiveShell, name: str) -> Run:
    """Return the run that a variable holds, or that had this name when it was made."""
    variable = shell.user_ns.get(name)
    found = variable if isinstance(variable, Run) else session.RUNS.get(name)
    if found is None and experiment_named(shell, name) is not None:
        raise RunError(
            f"{name} is an experiment, and this is for one run",
            f"{name}.best is its best run: print({name}.best.facts.cell) tells how to train that "
            f"alone; {name}.model has its weights, and {name}.report('folder') writes all",
        )
    if found is None:
        raise NameNotFoundError(
            f"no run is called {name!r}",
            f"{nearest(name, session.RUNS)}there are: {', '.join(session.RUNS) or 'none yet'}",
        )
    return found


def experiment_named(shell: InteractiveShell, name: str) -> Experiment | None:
    """Return the experiment that a variable holds, or that had this name, or None."""
    variable = shell.user_ns.get(name)
    return variable if isinstance(variable, Experiment) else calls.EXPERIMENTS.get(name)
