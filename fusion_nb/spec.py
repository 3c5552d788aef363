"""A run is data: everything that decides its curve, as one checked record, and how a federation is built from it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fusion_nb import documents, registry
from fusion_nb.division import Division
from fusion_nb.errors import DataError, ModelError, OptionError, nearest
from fusion_nb.federation import Federation
from fusion_nb.models import base as models
from fusion_nb.schedule import Schedule
from fusion_nb.stopping import Until


def _option(default: Any, doc: str, *aliases: str, choices: str = "", of_model: bool = False, **bounds: Any) -> Any:
    """Return a field: its help text, other names for the command line, and the registry that lists its choices.

    of_model: not every kind of model has it
    """
    extra: dict[str, Any] = {"aliases": list(aliases), "choices": choices, "of_model": of_model}
    return Field(default, description=doc, json_schema_extra=extra, **bounds)


class RunSpec(BaseModel):
    """All options of a run. Magic, panel, service and YAML file produce one; nothing else starts a run.

    Raises OptionError that names the option, the value and what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = _option("model", "variable that holds the model, or a .pt, .keras or .doc2vec file")
    data: str = _option("digits", "variable, data set, .npz file, or several files", choices="datasets")
    data_handler: str = _option("", "class with get_data() that reads the data", choices="datasets")
    label: str = _option("", "column of a DataFrame that holds the label")
    parties: int | None = _option(
        None, "how many parties (default: 4, or as many as the data has)", "clients", "p", ge=1
    )
    split: str = _option("iid", "how rows are divided among parties", choices="splits")
    holdout: float = _option(0.2, "share of each party's rows kept as its own test rows", ge=0, lt=1)
    fusion: str = _option(
        "", "aggregation rule (default: fedavg; doc2vec for a Doc2Vec)", "algorithm", "a", choices="fusions"
    )
    rounds: int = _option(10, "rounds of local training and fusion", "r", ge=1)
    epochs: int = _option(1, "passes over a party's rows in each round", "e", ge=1)
    batch_size: int = _option(32, "rows in a batch", of_model=True, ge=1)
    lr: float | None = _option(
        None, "learning rate of local training (default: the model's own, or 0.01)", gt=0, allow_inf_nan=False
    )
    optimizer: str = _option(
        "", "the framework's own name, with options: sgd:momentum=0.9, or a variable (default: sgd)", of_model=True
    )
    keep_optimizer: bool = _option(
        False, "a party goes on with the optimizer's state of its last round (default: a fresh one)", of_model=True
    )
    loss: str = _option("", "name or variable (default: inferred from model and labels)", of_model=True)
    fraction: float = _option(1.0, "share of the parties that train in each round", gt=0, le=1)
    quorum: float = _option(1.0, "share of a round's parties that must answer", gt=0, le=1)
    until: str = _option("", 'stop early: "accuracy >= 0.95"')
    patience: int = _option(0, "stop after this many rounds without improvement (0: never)", ge=0)
    monitor: str = _option("", "metric that decides best and patience (default: accuracy, self_rank, or loss)")
    evaluate_every: int = _option(1, "rounds between two evaluations", ge=1)
    seed: int = _option(
        0, "fixes split, cohorts, batches and, for a model built in the cell, its first weights", ge=0, le=2**63 - 1
    )
    device: str = _option("auto", "auto, cpu, cuda or mps", of_model=True)
    engine: str = _option("local", "where parties run", choices="engines")
    schedule: str = _option(
        "",
        "falls of a learning rate that falls, as after+rounds: 0+10,10+5 (default: one over all rounds)",
        of_model=True,
    )
    min_parties: int = _option(1, "keep only words that at least so many parties have", of_model=True, ge=1)
    code: str = Field("", description="the cell's body, which defines the model")

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise _one_line(error) from None

    @classmethod
    def from_yaml(cls, text: str) -> RunSpec:
        """Return the spec that `to_yaml` wrote. Raises OptionError for text that is none."""
        return cls(**read_yaml(text))

    def to_yaml(self) -> str:
        """Return every option as YAML text that repeats the run, the cell's body included."""
        return yaml.dump(self.model_dump(exclude_none=True), Dumper=_Dumper, sort_keys=False, allow_unicode=True)

    def to_cell(self) -> str:
        """Return a cell that repeats the run: `%%fusion` with the options that are not the default, and its body."""
        chosen = self.model_dump(exclude_defaults=True, exclude={"code"})
        written = {f"--{name.replace('_', '-')}": value for name, value in chosen.items()}
        words = [name if value is True else f"{name} {shlex.quote(str(value))}" for name, value in written.items()]
        line = " ".join(words)
        return f"%%fusion {line}\n{self.code}" if self.code else f"%fusion run {line}"


#: Options that not every kind of model has.
_OF_MODEL = [
    name
    for name, field in RunSpec.model_fields.items()
    if (field.json_schema_extra or {}).get("of_model")  # type: ignore[union-attr]
]


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, so that a cell's body stays readable."""

    def represent_str(self, text: str) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_str)


def read_yaml(text: str) -> dict[str, Any]:
    """Return the options in YAML text, unchecked. Raises OptionError for text that is no mapping."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OptionError(f"the file is not YAML: {str(error).splitlines()[0]}", "see run.spec.to_yaml()") from None
    if not isinstance(found, dict):
        raise OptionError("the file holds no options", "write one a line, such as  rounds: 10")
    aliases = {alias: name for name, field in RunSpec.model_fields.items() for alias in _aliases(field)}
    given = {str(name).replace("-", "_"): value for name, value in found.items() if value is not None}
    return {aliases.get(name, name): value for name, value in given.items()}


def _aliases(field: Any) -> list[str]:
    return list((field.json_schema_extra or {}).get("aliases", ()))


def _one_line(error: ValidationError) -> OptionError:
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        known = list(RunSpec.model_fields)
        return OptionError(f"there is no option {name!r}", f"{nearest(name, known)}there are: {', '.join(known)}")
    return OptionError(f"--{name.replace('_', '-')} {first['input']} is not allowed", f"give {allowed(name)}")


def allowed(name: str) -> str:
    """Return in words what a field takes, such as `a number > 0 and <= 1`."""
    field = RunSpec.model_fields[name]
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    bounds = [f"{sign} {getattr(m, key):g}" for m in field.metadata for key, sign in signs.items() if hasattr(m, key)]
    kind = next(kind for kind in (bool, int, float, str) if kind in (field.annotation, *get_args(field.annotation)))
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return " ".join([words[kind], " and ".join(bounds)]).strip()


def divide(spec: RunSpec, namespace: Mapping[str, Any]) -> Division:
    """Return the parties that a spec makes of its data; names are looked up in `namespace`."""
    names = ("data", "data_handler", "label", "split", "parties", "holdout", "seed")
    return Division.of(namespace, **{name: getattr(spec, name) for name in names})


def build(spec: RunSpec, namespace: Mapping[str, Any], division: Division | None = None) -> Federation:
    """Return the federation that a spec describes, checked as far as it can be without training.

    Names in the spec are looked up in `namespace`. Raises a FusionError for the first thing that doesn't fit;
    what was inferred is added to `division.notes`.
    """
    if spec.fusion:
        registry.bind("fusions", spec.fusion)  # a typo is told before anything is read
    engine = registry.create("engines", spec.engine)
    native = models.find(spec.model, namespace)
    division = division or divide(spec, namespace)
    if spec.min_parties > len(division.parties):
        raise OptionError(
            f"--min-parties {spec.min_parties}, but there are {len(division.parties)}",
            "no word would be left: use fewer",
        )
    given = {name: getattr(spec, name) for name in _OF_MODEL} | {"loss": _or_variable(spec.loss, namespace)}
    model = models.wrap(native, spec.model, **given)
    _check_options(spec, model)
    fusion = registry.create("fusions", spec.fusion or model.defaults["fusion"])
    optimizer = _or_variable(spec.optimizer, namespace) or model.defaults["optimizer"]
    lr = model.default_lr(optimizer) if spec.lr is None else spec.lr
    _check_kind(spec, model, division)
    _check_rows(division)
    _check_sizes(model, division)
    # Seeded, since a lazy layer draws its first weights when it sees its first rows.
    with model.seeded(spec.seed):
        notes = model.check(division.parties[0].train, division.all_labels(), lr=lr, optimizer=optimizer)
    division.notes += notes
    if "accuracy" in model.metrics and (missing := division.missing_classes()):
        division.notes.append(f"warning: no party has a training row of class {', '.join(missing)}")
    if bad := [name for name, array in model.get_weights().items() if not np.isfinite(array).all()]:
        raise ModelError(f"the model's first weights are not finite ({bad[0]})", "build it anew")
    metrics = ["train_loss", *model.metrics]
    if spec.until:
        Until(spec.until).check(metrics)
    if spec.monitor and spec.monitor not in metrics:
        hint = f"{nearest(spec.monitor, metrics)}this run will have: {', '.join(metrics)}"
        raise OptionError(f"--monitor names the metric {spec.monitor!r}, which this run does not have", hint)
    orders = {"epochs": spec.epochs, "batch_size": spec.batch_size, "lr": lr, "optimizer": optimizer}
    return Federation(
        parties=division.parties,
        model=model,
        fusion=fusion,
        engine=engine,
        orders=orders,
        seed=spec.seed,
        fraction=spec.fraction,
        quorum=spec.quorum,
        test=division.test,
        evaluate_every=spec.evaluate_every,
        schedule=Schedule.parse(spec.schedule),
    )


def absent_options(model: models.Model) -> set[str]:
    """Return the options of a run that this kind of model does not have."""
    has = model.orders | set(models.settings(type(model))) | ({"schedule"} if model.is_scheduled else set())
    return set(_OF_MODEL) - has


def _check_options(spec: RunSpec, model: models.Model) -> None:
    """Raise OptionError for an option that was given and that this kind of model does not have."""
    absent = absent_options(model)
    for name in _OF_MODEL:
        if name in absent and getattr(spec, name) != RunSpec.model_fields[name].default:
            listed = ", ".join(f"--{option.replace('_', '-')}" for option in _OF_MODEL if option not in absent)
            line = f"--{name.replace('_', '-')} {getattr(spec, name)}: a {model.kind} has no such option"
            raise OptionError(line, f"leave it out; beside --lr and --epochs it has: {listed or 'none'}")


def _check_rows(division: Division) -> None:
    """Raise DataError where test rows are not of the form of the training rows."""
    form = _form(division.parties[0].train)
    tests = {"the central test set": division.test} | {f"the test set of {p.id}": p.test for p in division.parties}
    for name, rows in tests.items():
        if rows is not None and form and _form(rows) and _form(rows) != form:
            raise DataError(f"rows of {name} have shape {_form(rows)}, training rows {form}", "give all the same form")


def _check_kind(spec: RunSpec, model: models.Model, division: Division) -> None:
    """Raise ModelError where the rows are documents and the model wants numbers, or the other way round."""
    rows = division.parties[0].train
    if documents.are(rows):
        if model.takes != "documents":
            raise ModelError(
                f"the rows of --data {spec.data} are documents, and a {model.kind} takes numbers",
                "encode them first, or use a gensim Doc2Vec",
            )
        documents.check_tags({party.id: party.train[0] for party in division.parties})
    elif model.takes == "documents":
        raise ModelError(
            f"the rows of --data {spec.data} are numbers, and a {model.kind} takes documents",
            "give texts, lists of words or TaggedDocuments, or --data 20_newsgroup",
        )


def _form(rows: Any) -> tuple[int, ...]:
    return np.shape(rows[0])[1:] if isinstance(rows, tuple) else ()


def _check_sizes(model: models.Model, division: Division) -> None:
    """Raise ModelError where parties have fewer training rows than the model can be trained on."""
    if small := [party.id for party in division.parties if party.num_examples < model.min_rows]:
        raise ModelError(
            f"{len(small)} parties have fewer than the {model.min_rows} training rows that this model needs "
            f"({', '.join(small[:3])})",
            "use fewer parties, a more even split, or --holdout 0 with a test set",
        )


def _or_variable(name: str, namespace: Mapping[str, Any]) -> Any:
    """Return the class, function or optimizer that a name is in the notebook, or the name for the framework to know."""
    found = namespace.get(name)
    is_optimizer = any(base.__name__ in ("Optimizer", "BaseOptimizer") for base in type(found).__mro__)
    return found if callable(found) or is_optimizer else name


def from_file(path: str) -> dict[str, Any]:
    """Return the options in a YAML file, unchecked. Raises OptionError for a file that can't be read."""
    try:
        return read_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--config {path} can't be read ({error})", "write one with run.spec.to_yaml()") from None
