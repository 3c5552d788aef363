"""The runs of this process: their names, how they are begun from Python, and several of them in one
picture.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Mapping
from typing import Any

from fusion_nb.errors import OptionError, RunError
from fusion_nb.reporting import charts
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec

#: What the status of a run is while it may add rounds by itself, and once it does not.
UNDER_WAY, ENDED = ("running", "paused"), ("finished", "stopped", "failed")
#: The runs of this process by name, the latest last; `%fusion` commands choose among them.
RUNS: dict[str, Run] = {}


def remember(run: Run) -> None:
    """Add a run to RUNS as the latest one. Raises OptionError where that would lose one that is
    under way.
    """
    there = RUNS.pop(run.name, None)
    if there is not None and there is not run and there.status in UNDER_WAY:
        RUNS[run.name] = there
        raise OptionError(
            f"{run.name!r} is still {there.status}",
            f"stop it first (%fusion stop {run.name}), or use another name",
        )
    RUNS[run.name] = run


def new_name(given: str, namespace: Mapping[str, Any]) -> str:
    """Return the variable to bind a run to: as given, or the first of run, run_2, ... that is no
    variable yet.

    Raises OptionError where a run under that name would lose something.
    """
    if not given:
        names = ("run" if i == 1 else f"run_{i}" for i in range(1, 10_000))
        live = {name for name, run in RUNS.items() if run.status in UNDER_WAY}
        return next(name for name in names if name not in namespace and name not in live)
    if not given.isidentifier() or keyword.iskeyword(given) or hasattr(builtins, given):
        raise OptionError(
            f"--name {given!r} can't name a variable", "use letters, digits and underscores"
        )
    there = namespace.get(given, RUNS.get(given))
    if isinstance(there, Run) and there.status in UNDER_WAY:
        raise OptionError(
            f"{given!r} is still {there.status}",
            f"%fusion stop {given} first, or use another --name",
        )
    if there is not None and not isinstance(there, Run):
        raise OptionError(
            f"the variable {given!r} holds {type(there).__name__}, not a run", "use another --name"
        )
    return given


def compare(chosen: Mapping[str, Run]) -> charts.Chart:
    """Draw several runs over each other; what is still under way is drawn as far as it is, and says
    so.

    Raises RunError for runs that are measured in other metrics.
    """
    shown = next(iter(chosen.values())).shown
    if other := next((name for name, run in chosen.items() if run.shown != shown), ""):
        measured = (
            f"{', '.join(chosen[other].shown)}, and {next(iter(chosen))} in {', '.join(shown)}"
        )
        raise RunError(f"{other} is measured in {measured}", "compare runs of the same metrics")
    under_way = {
        name: f" ({run.status})" for name, run in chosen.items() if run.status in UNDER_WAY
    }
    return charts.compare(
        {name + under_way.get(name, ""): run.records for name, run in chosen.items()}, shown
    )


def federate(
    model: Any, data: Any = "digits", *, background: bool = False, name: str = "run", **options: Any
) -> Run:
    """Run a federation from Python: the options of the cell, with objects where the cell has names.

    model: a model, or the path of its file;  data: arrays, a DataFrame, a Dataset, a list or dict
                                              of these, or a name
    background: return at once instead of when it has ended
    loss, optimizer, data_handler may be objects too. Nothing is drawn: look at `run.summary()` and
    `run.plot()`.
    """
    namespace = {}
    for option, value in {"model": model, "data": data, **options}.items():
        if value is None:
            options.pop(option, None)
        elif option in ("model", "data", "loss", "optimizer", "data_handler") and not isinstance(
            value, str
        ):
            # The name says to whoever repeats the run that this was an object and must be there
            # under that name.
            options[option] = f"given_{option}"
            namespace[options[option]] = value
        else:
            options[option] = value
    run = Run(RunSpec(**options), namespace, name=name)
    remember(run)
    run.start()
    return run if background else run.wait()
