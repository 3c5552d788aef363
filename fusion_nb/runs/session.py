"""The runs of this process: their names, a run from Python, and several runs in one chart."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from fusion_nb.core.history import History
from fusion_nb.data import description
from fusion_nb.data.description import Statistics
from fusion_nb.errors import (
    DataError,
    NameNotFoundError,
    OptionError,
    RunError,
    option,
    python_spelling,
    spelled_in,
)
from fusion_nb.models import lookup
from fusion_nb.reporting import charts
from fusion_nb.runs.checkpoints.resume import SavedSpec
from fusion_nb.runs.checkpoints.saving import cache, find
from fusion_nb.runs.checkpoints.saving import remember as remember_folder
from fusion_nb.runs.experiments.given import named_objects
from fusion_nb.runs.handle import ENDED, UNDER_WAY, RunHandle
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec

if TYPE_CHECKING:
    from fusion_nb.runs.experiments.experiment import Experiment

__all__ = [
    "ENDED",
    "RUNS",
    "UNDER_WAY",
    "compare",
    "federate",
    "new_name",
    "remember",
    "resume",
    "stats",
]

#: The runs of this process by name, the latest last; `%fusion` commands choose among them.
RUNS: dict[str, Run] = {}
#: Runs from Python without a name of their own that are remembered, at most.
_MAX_UNNAMED = 20


def remember(run: Run) -> None:
    """Add a run to RUNS as the latest one.

    Raises OptionError where that would forget another run of this name that is under way.
    """
    before = RUNS.pop(run.name, None)
    if before is not None and before is not run and before.status in UNDER_WAY:
        RUNS[run.name] = before
        raise OptionError(
            f"{run.name!r} is still {before.status}",
            f"stop it first (%fusion stop {run.name}), or use another name",
            option="name",
            value=run.name,
        )
    RUNS[run.name] = run
    remember_folder(run.storage.folder)


def new_name(given: str, namespace: Mapping[str, Any]) -> str:
    """Return the variable to bind a run to: `given`, or the first of run, run_2, ... that is free.

    Raises OptionError for a name that can't be bound without losing something.
    """
    if not given:
        names = ("run" if i == 1 else f"run_{i}" for i in range(1, 10_000))
        live = {name for name, run in RUNS.items() if run.status in UNDER_WAY}
        return next(name for name in names if name not in namespace and name not in live)
    _check_name(given)
    present = namespace.get(given, RUNS.get(given))
    if isinstance(present, RunHandle) and present.status in UNDER_WAY:
        raise OptionError(
            f"{given!r} is still {present.status}",
            f"%fusion stop {given} first, or use another {option('name')}",
        )
    if present is not None and not isinstance(present, RunHandle):
        raise OptionError(
            f"the variable {given!r} holds {type(present).__name__}, not a run",
            f"use another {option('name')}",
        )
    return given


def compare(runs: Mapping[str, RunHandle]) -> charts.Chart:
    """Draw several runs over each other, by name. A run that is under way is marked so.

    Where runs are trained by several losses, the chart's note says so. Raises RunError for runs
    that are measured in different metrics.
    """
    return replace(charts.compare(*comparable(runs)), note=losses_note(runs))


def comparable(runs: Mapping[str, RunHandle]) -> tuple[dict[str, History], tuple[str, str]]:
    """Return the rounds of several runs by name, with the metrics that they have in common.

    Raises RunError for runs that are measured in different metrics.
    """
    labels = {
        name: f"{name} ({run.status})" if run.status in UNDER_WAY else name
        for name, run in runs.items()
    }
    records = {labels[name]: run.records for name, run in runs.items()}
    return records, _common_metrics(runs)


def _common_metrics(runs: Mapping[str, RunHandle]) -> tuple[str, str]:
    """Return the loss, and the metric that people read: one that all runs have."""
    first, metrics = next((name, run.chart_metrics) for name, run in runs.items())
    others = {name: run for name, run in runs.items() if run.chart_metrics != metrics}
    if not others:
        return metrics
    known = [run.records.metrics() for run in runs.values()]
    wanted = [run.chart_metrics[1] for run in runs.values()]
    for name in (*wanted, "accuracy", "mae"):
        if name != "train_loss" and all(name in of_run for of_run in known):
            return "loss", name
    name, run = next(iter(others.items()))
    raise RunError(
        f"{name} is measured in {', '.join(run.chart_metrics)}, and {first} in "
        f"{', '.join(metrics)}",
        "compare runs of the same metrics",
    )


def losses_note(runs: Mapping[str, RunHandle]) -> str:
    """Return a sentence where runs are trained by several losses, or ""."""
    by_loss: dict[str, list[str]] = {}
    for name, run in runs.items():
        if run.loss_name:
            by_loss.setdefault(run.loss_name, []).append(name)
    if len(by_loss) < 2:
        return ""
    named = "; ".join(f"{loss} of {', '.join(names)}" for loss, names in by_loss.items())
    return f"warning: the losses are not the same, and can't be compared: {named}"


@overload
def federate(
    model: Any,
    data: Any = ...,
    *,
    seeds: Any,
    background: bool = ...,
    name: str = ...,
    **options: Any,
) -> Experiment: ...


@overload
def federate(
    model: Any, data: Any = ..., *, background: bool = ..., name: str = ..., **options: Any
) -> Run: ...


def federate(
    model: Any,
    data: Any = "digits",
    *,
    seeds: Any = None,
    background: bool = False,
    name: str = "",
    **options: Any,
) -> Run | Experiment:
    """Run a federation from Python: the options of the cell, with objects where the cell has names.

    model:      a model, or the path of its file
    data:       arrays, a DataFrame, a Dataset, a list or dict of these, or a name
    background: return at once, and not only when it has ended
    loss, optimizer, data_handler, lr_schedule (a function of the round), sampling (a function, or
    names of parties), callbacks (a function, a Callback, or a list) and roles (a dict) may be
    objects too. As in a cell, `algorithm` is another name of `fusion`, and `clients` of `parties`.
    Nothing is drawn: see `run.summary()` and `run.plot()`.
    seeds:      several, as range(5) or "0-4", make an `Experiment` of several runs; `hold` and
                `band` go with it, as in `sweep`
    """
    chosen, namespace = named_objects({"model": model, "data": data, **options})
    with spelled_in(python_spelling):
        if data is None:
            raise DataError(
                f"{option('data')} is None", "give rows with labels, or leave it out for 'digits'"
            )
        if name:
            _check_name(name)
        _check_model(model)
        if seeds is not None:
            from fusion_nb.runs.experiments import calls  # a run alone does without

            options = {**chosen, "seeds": seeds}
            return calls.repeat(options, namespace, name=name, background=background)
        if alone := [each for each in ("hold", "band", "workers") if each in options]:
            raise OptionError(
                f"{option(alone[0])} goes with several seeds", f"give {option('seeds', '0-4')} too"
            )
        run = Run(RunSpec(**chosen), namespace, name=name or _next_name())
        with run.training.stopping_on_interrupt():
            remember(run)
            run.start()
            return run if background else run.wait()


def resume(
    folder: str | Path,
    model: Any = None,
    data: Any = None,
    *,
    background: bool = False,
    name: str = "",
    allow_other_rows: bool = False,
    **options: Any,
) -> Any:
    """Take up a run that was saved with `checkpoint=folder`, and train it to its planned end.

    folder:     that of the run, or the name of a run in the notebook's cache
    model:      the model that it was begun with, whatever its weights; it may be left out where it
                is a file, as data may where it is a name such as "digits"
    background: return at once, and not only when it has ended
    allow_other_rows: go on though the rows are not those that it was begun with
    options:    loss, optimizer, data_handler where they are objects; engine, device, checkpoint
    The curve is that of a run that was never interrupted. Checkpoints go on in the same folder;
    `checkpoint` names another one, or is "off". An experiment in the folder goes on likewise, and
    is returned.
    Raises RunError where there is no run, or model or rows are others.
    """
    from fusion_nb.runs.experiments import calls
    from fusion_nb.runs.experiments.folder import ExperimentFolder

    chosen, namespace = named_objects({"model": model, "data": data, **options})
    with spelled_in(python_spelling):
        if ExperimentFolder.is_one(folder):
            return calls.take_up(folder, chosen, namespace, name=name, background=background)
        found = find(str(folder))
        is_cached = found.path.parent == cache()
        if not is_cached:
            chosen.setdefault("checkpoint", str(found.path))
        saved = SavedSpec.read(found.path, chosen)
        run = saved.make_run(
            namespace, name=name, is_cached=is_cached, allow_other_rows=allow_other_rows
        )
        remember(run)
        run.start()
        return run if background else run.wait()


def stats(data: Any, *, min_count: int = 5, **options: Any) -> Statistics:
    """Return the statistics of a table's columns, of each party and of all together.

    data:      a DataFrame of pandas, polars or pyarrow, or a list or dict of these: one per party
    min_count: counts of fewer rows are hidden
    options:   label, split, parties, seed, as in `federate`
    Nothing is trained, and parties report counts and sums alone. See `Statistics`.
    """
    chosen, namespace = named_objects({"data": data, **options})
    with spelled_in(python_spelling):
        return describe(RunSpec(**chosen), namespace, min_count)


def describe(spec: RunSpec, namespace: Mapping[str, Any], min_count: Any) -> Statistics:
    """Return the statistics of the table that a spec names; see `stats`."""
    name = option("min_count", min_count)
    try:
        wanted = int(min_count)
    except (TypeError, ValueError):
        raise OptionError(f"{name} is not allowed", "give a whole number >= 1") from None
    if wanted < 1:
        raise OptionError(f"{name} is not allowed", "give a whole number >= 1")
    names = ("data", "data_handler", "label", "split", "parties", "seed")
    given = {name: getattr(spec, name) for name in names} | {"seed": spec.seed_for("split")}
    return description.describe(namespace, min_count=wanted, **given)


def _next_name() -> str:
    """Return the first of run, run_2, ... that no run has, so that runs can be compared by name.

    The oldest that has ended is forgotten in the end, or all models would stay in memory.
    """
    unnamed = [each for each in RUNS if re.fullmatch(r"run(_\d+)?", each)]
    ended = [each for each in unnamed if RUNS[each].status in ENDED]
    for each in ended[: max(0, len(unnamed) - _MAX_UNNAMED + 1)]:
        del RUNS[each]
    numbers = (1 if each == "run" else int(each.removeprefix("run_")) for each in unnamed)
    latest = max(numbers, default=0)
    return "run" if not latest else f"run_{latest + 1}"


def _check_name(given: str) -> None:
    """Raise OptionError for a name that no variable can have."""
    is_of_python = keyword.iskeyword(given) or hasattr(builtins, given)
    if is_of_python or not given.isidentifier():
        raise OptionError(
            f"{option('name', repr(given))} can't name a variable",
            f"{given} is a name of Python's own: use another one"
            if is_of_python
            else "use letters, digits and underscores, and begin with a letter",
        )


def _check_model(model: Any) -> None:
    """Raise NameNotFoundError for text that names no file of a model."""
    endings = lookup.suffixes()
    if isinstance(model, str) and Path(model).suffix not in endings:
        raise NameNotFoundError(
            f"{option('model', repr(model))} names no file of a model",
            f"give a model, or a file that ends in {', '.join(sorted(endings))}",
        )
