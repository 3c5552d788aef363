"""Experiments from Python: `fusion_nb.sweep`, and `fusion_nb.federate(seeds=...)`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_nb.core import registry
from fusion_nb.errors import OptionError, RunError, option, python_spelling, spelled_in
from fusion_nb.runs.experiments.experiment import Experiment
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.given import check_present, named_objects, named_values
from fusion_nb.runs.experiments.spec import OWN, ExperimentSpec
from fusion_nb.runs.experiments.training import Workshop
from fusion_nb.runs.experiments.varying import several_experiments
from fusion_nb.runs.spec import RunSpec, from_file

#: The experiments of this process by name, the latest last.
EXPERIMENTS: dict[str, Experiment] = {}
#: Experiments that have ended and are remembered, at most.
_MAX_REMEMBERED = 20
_UNDER_WAY = ("running", "paused")


def sweep(
    model: Any = None,
    data: Any = None,
    *,
    config: str = "",
    background: bool = False,
    name: str = "",
    **options: Any,
) -> Experiment:
    """Train every combination of the options that have several values, under each seed.

    model:      a model; or a function that builds one, which gives each seed other first weights
    data:       as in `federate`;  config: a YAML file with options, which those here replace
    background: return at once, and not only when it has ended
    options:    as in `federate`; a list is several values: `lr=[0.05, 0.1]`,
                `fusion=["fedavg", "fedprox:mu=[0.01,0.1]"]`, `compress=["none", "topk"]`
    seeds:      `range(3)`, or "0-2";  hold: parts that keep the first seed, as "split,weights"
    band:       std, or bootstrap: the 95 % interval of the mean
    search:     "optuna:trials=50,metric=accuracy" in place of every combination
    workers:    processes that train runs beside each other; 0 trains them in this one; "auto", the
                default, too, but that processes join it where the runs take long; or a Ray cluster,
                as "ray", "ray:workers=4" or "ray:address=auto"
    checkpoint: a folder; an experiment that was stopped or killed goes on where it was

    Nothing is drawn: see `experiment.plot()`, `.to_frame()`, `.compare()`, `.best`, `.runs`.
    """
    with spelled_in(python_spelling):
        of_file = from_file(config) if config else {}
        given = of_file | {
            key: value
            for key, value in {"model": model, "data": data, **options}.items()
            if value is not None
        }
        if "model" not in given:
            raise OptionError(f"{option('model')} is missing", "give a model as the first argument")
        own = {key: value for key, value in given.items() if key in OWN}
        _check_one_of_all(given["model"], given.get("data"))
        several = {
            key: named_values(key, value)
            for key, value in given.items()
            if isinstance(value, list | tuple) and key in ("loss", "optimizer", "lr_schedule")
        }
        chosen, namespace = named_objects(
            {key: value for key, value in given.items() if key not in OWN and key not in several}
        )
        for key, (names, objects) in several.items():
            chosen[key] = names
            namespace |= objects
        check_present(chosen, namespace, config)
        spec = ExperimentSpec.of({**chosen, **own}, namespace=namespace)
        return launch(spec, namespace, name=name, background=background)


def _check_one_of_all(model: Any, data: Any) -> None:
    """Raise OptionError for several models, or names of several data sets."""
    if isinstance(model, list | tuple):
        raise several_experiments("model")
    known = registry.names("datasets")
    if (
        isinstance(data, list | tuple)
        and data
        and all(isinstance(each, str) and each in known for each in data)
    ):
        raise several_experiments("data")


def repeat(
    chosen: Mapping[str, Any],
    namespace: Mapping[str, Any],
    *,
    name: str = "",
    background: bool = False,
) -> Experiment:
    """Train a run under several seeds, which are among the options."""
    spec = ExperimentSpec.of(chosen, varies=False, namespace=namespace)
    return launch(spec, namespace, name=name, background=background)


def take_up(
    folder: str | Path,
    chosen: Mapping[str, Any],
    namespace: Mapping[str, Any],
    *,
    name: str = "",
    background: bool = False,
) -> Experiment:
    """Go on with an experiment that was saved in a folder.

    chosen: the model and the data again, and options of an experiment such as `workers`
    """
    about = ExperimentFolder(folder).about()
    # Objects stand under the names that they had, so that the saved runs are found again.
    objects = {name: text for name, text in chosen.items() if text == f"given_{name}"}
    names = {text: _saved_name(about["spec"], name) for name, text in objects.items()}
    namespace = {names.get(name, name): value for name, value in namespace.items()}
    others = {name: value for name, value in chosen.items() if name not in objects}
    saved = {**about["spec"], "checkpoint": str(folder), **others}
    check_present(saved, namespace, str(folder))
    spec = ExperimentSpec.of(saved, namespace=namespace)
    return launch(spec, namespace, name=name or str(about["name"]), background=background)


def _saved_name(spec: Mapping[str, Any], name: str) -> str:
    """Return the name that an object had in a saved experiment."""
    return str(spec.get(name) or RunSpec.model_fields[name].default or f"given_{name}")


def launch(
    spec: ExperimentSpec,
    namespace: Mapping[str, Any],
    *,
    name: str = "",
    background: bool = False,
    workshop: Workshop | None = None,
) -> Experiment:
    """Make an experiment, remember it, and train it."""
    made = Experiment(spec, namespace, name=free_name(name), workshop=workshop)
    remember(made)
    made.start()
    return made if background else made.wait()


def remember(made: Experiment) -> None:
    """Add an experiment as the latest one; the oldest that has ended is forgotten in the end."""
    EXPERIMENTS.pop(made.name, None)
    EXPERIMENTS[made.name] = made
    ended = [name for name, each in EXPERIMENTS.items() if each.status not in _UNDER_WAY]
    for old in ended[: max(0, len(EXPERIMENTS) - _MAX_REMEMBERED)]:
        if old != made.name:
            del EXPERIMENTS[old]


def free_name(given: str, taken: Mapping[str, Any] | None = None) -> str:
    """Return a name for an experiment: `given`, or experiment, experiment_2, ...

    taken: variables that keep their values
    Raises RunError for the name of one that is under way.
    """
    if given:
        if given in EXPERIMENTS and EXPERIMENTS[given].status in _UNDER_WAY:
            raise RunError(
                f"{given!r} is still {EXPERIMENTS[given].status}",
                "stop it first, or use another name",
            )
        return given
    names = ("experiment" if i == 1 else f"experiment_{i}" for i in range(1, 10_000))
    return next(each for each in names if each not in EXPERIMENTS and each not in (taken or {}))
