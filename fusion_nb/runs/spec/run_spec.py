"""A run is data: everything that decides its curve, as one checked record."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fusion_nb.core import seeds
from fusion_nb.core.builtin import FRAMEWORKS
from fusion_nb.core.options import Option
from fusion_nb.errors import OptionError, cell_spelling, option, python_spelling, spelled_in
from fusion_nb.runs.spec import errors as spec_errors
from fusion_nb.runs.spec import text as spec_text
from fusion_nb.runs.spec.fields import extra
from fusion_nb.runs.spec.fields import option_field as _option

#: One file name suffix of each framework, in words.
_SUFFIXES = [kind.suffixes[0] for kind in FRAMEWORKS.values() if kind.suffixes][::-1]
_MODEL_FILES = f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"

#: Options that decide every run, and so are written even where they are the default.
_DECISIVE = ("data", "parties", "split", "fusion", "rounds", "epochs", "lr", "seed")
#: Options of what is kept, called or measured beside the rounds.
_BESIDE = ("checkpoint", "callbacks", "log", "contribution", "unseen")


class RunSpec(BaseModel):
    """All options of a run. Magic, panel, service, YAML file and Python call make one, and nothing
    else starts a run. `clients` and `algorithm` are other names of `parties` and `fusion`.

    Raises OptionError that names the option, the value and what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = _option("model", f"variable that holds the model, or a {_MODEL_FILES} file")
    data: str = _option(
        "digits",
        "variable, data set, .npz, .csv or .parquet file, or several files",
        choices="datasets",
    )
    data_handler: str = _option("", "class with get_data() that reads the data", choices="datasets")
    label: str = _option("", "column of a DataFrame that holds the label")
    tabular: str = _option(
        "",
        "encode the columns of a table, categories and missing values too, by statistics of all "
        "parties: auto, with options as auto:impute=median",
        choices="tabular",
    )
    parties: int | None = _option(
        None, "how many parties (default: 4, or as many as the data has)", "clients", "p", ge=1
    )
    split: str = _option("iid", "how rows are divided among parties", choices="splits")
    holdout: float = _option(
        0.2, "share of each party's rows kept as its own test rows", ge=0, lt=1
    )
    fusion: str = _option(
        "",
        "aggregation rule (default: that of the kind of model, fedavg for most)",
        "algorithm",
        "a",
        choices="fusions",
    )
    rounds: int = _option(10, "rounds of local training and fusion", "r", ge=1)
    epochs: int = _option(1, "passes over a party's rows in each round", "e", ge=1)
    local_steps: int = _option(
        0,
        "batches that a party trains in each round, in place of --epochs (0: whole epochs)",
        model_option=True,
        ge=0,
    )
    batch_size: int = _option(32, "rows in a batch", model_option=True, ge=1)
    lr: float | None = _option(
        None,
        "learning rate of local training (default: the model's own, or 0.01)",
        gt=0,
        allow_inf_nan=False,
    )
    lr_schedule: str = _option(
        "",
        "how the learning rate changes from round to round, as cosine, or a function of the round",
        choices="lr_schedules",
    )
    optimizer: str = _option(
        "",
        "the framework's own name, with options: sgd:momentum=0.9, or a variable (default: sgd)",
        model_option=True,
    )
    keep_optimizer: bool = _option(
        False,
        "a party goes on with the optimizer's state of its last round (default: a fresh one)",
        model_option=True,
    )
    loss: str = _option(
        "", "name or variable (default: inferred from model and labels)", model_option=True
    )
    class_weights: str = _option(
        "",
        "weights of classes in training: balanced over all parties' rows, or yes=9,no=1",
    )
    send: str = _option(
        "all",
        "weights that travel: all, or trained, which leaves out those that are frozen",
        model_option=True,
    )
    fraction: float = _option(1.0, "share of the parties that train in each round", gt=0, le=1)
    sampling: str = _option("uniform", "which parties train in a round", choices="samplings")
    roles: str = _option(
        "", "parties that only evaluate or only train: clinic 5=evaluate;clinic 6=train"
    )
    quorum: float | None = _option(
        None,
        "share of a round's parties that must answer (default: all; with simulated faults, one)",
        gt=0,
        le=1,
    )
    dropout: float = _option(0.0, "simulated: chance that a party fails in a round", ge=0, lt=1)
    straggler: str = _option(
        "", "simulated: share of a round's parties that do less, as 0.2:epochs=uniform"
    )
    adversary: str = _option(
        "", "simulated: hostile parties and their attack, as label_flip:2", choices="adversaries"
    )
    devices: str = _option("", "simulated: how slow each party's device is", choices="devices")
    network: str = _option("", "simulated: each party's line", choices="networks")
    step_seconds: float | None = _option(
        None, "simulated: time of a batch on this machine (default: measured)", gt=0, le=1e6
    )
    deadline: float | None = _option(
        None, "simulated: seconds after which updates are too late", gt=0, le=1e9
    )
    over_select: float | None = _option(
        None, "simulated: parties asked for each one that is awaited, as 1.3", gt=1, le=100
    )
    compress: str = _option(
        "", "encode the changes that travel, as topk:share=0.01", choices="compressions"
    )
    privacy: str = _option(
        "",
        "differential privacy, counted: central:clip=1,noise=1 (the aggregator adds noise), local "
        "(each party does) or rows (in each step); noise=auto:epsilon=8 finds the noise",
        choices="privacy",
    )
    secure: str = _option("", "the aggregator receives sums alone: masks", choices="secure")
    report: str = _option(
        "", "metrics that parties tell: plain (default), none, or noised:noise=5,bound=1"
    )
    personal: str = _option("", "a model for each party, besides the fused one", choices="personal")
    share: str = _option(
        "", "a model for each group of similar parties, the best of its members", choices="sharing"
    )
    ensemble: str = _option(
        "", "no fusion, but the parties' models together, after one exchange", choices="ensembles"
    )
    baseline: str = _option("", "trained as well, for comparison: central, local, or central,local")
    metrics: str = _option(
        "",
        "measured beside the model's own: auc,f1,recall:average=none,top_k:k=3 or one of yours",
    )
    until: str = _option("", 'stop early: "accuracy >= 0.95"')
    patience: int = _option(0, "stop after this many rounds without improvement (0: never)", ge=0)
    monitor: str = _option(
        "", "metric that decides best and patience (default: accuracy, self_rank, or loss)"
    )
    evaluate_every: int = _option(1, "rounds between two evaluations", ge=1)
    evaluate_rows: int = _option(
        0,
        "test rows, always the same, that an evaluation takes of each test set (0: all; the last "
        "round: all)",
        ge=0,
    )
    seed: int = _option(
        0,
        "fixes split, cohorts, batches and, for a model built in the cell, its first weights",
        ge=0,
        le=seeds.MAX_SEED,
    )
    seed_of: str = _option(
        "",
        "seeds of parts that --seed shall not fix, of split, cohort, batches and weights: "
        "split=0,weights=0",
    )
    device: str = _option("auto", "auto, cpu, cuda or mps", model_option=True)
    precision: str = _option(
        "float32",
        "of a model's computations: float32, or bf16, which is coarser and faster",
        model_option=True,
    )
    engine: str = _option("auto", "where parties run", choices="engines")
    schedule: str = _option(
        "",
        "over which rounds the learning rate falls, as after+rounds: 0+10,10+5 (default: once over "
        "all rounds)",
        model_option=True,
    )
    changes: str = _option(
        "", "options that change from a given round on: 5:lr=0.01;8:fusion=fedprox:mu=0.1"
    )
    min_parties: int = _option(
        1, "keep only words that at least this many parties have", model_option=True, ge=1
    )
    checkpoint: str = _option(
        "",
        "folder that keeps the last whole rounds: FOLDER:every=1,keep=2, or off (default: a cache "
        "in notebooks)",
    )
    contribution: str = _option(
        "", "what each party adds, by retraining: shapley, leave_one_out, cross_site"
    )
    unseen: int | None = _option(None, "parties that never train (default: none)", ge=1)
    callbacks: str = _option(
        "",
        "functions of yours (run, record), called after each round; one that returns True ends it",
    )
    log: str = _option(
        "",
        "trackers that keep the run (mlflow, tensorboard, trackio, wandb), several with commas: "
        "mlflow:uri=sqlite:///mlflow.db,tensorboard:folder=runs",
    )
    code: str = Field("", description="the cell's body, which defines the model")

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**named(options))
        except ValidationError as error:
            raise _readable(error).spelled(python_spelling) from None

    @field_validator("metrics", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        """Return a list of names as the text that an option line has."""
        is_list = isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)
        return ",".join(value) if is_list else value

    @field_validator("checkpoint", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        """Return a folder as the text that an option line has."""
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    def seed_for(self, part: str) -> int:
        """Return the seed of a part of `core.seeds.PARTS`: that of the run, or one of its own."""
        return seeds.apart(self.seed_of).get(part, self.seed)

    @classmethod
    def from_yaml(cls, text: str) -> RunSpec:
        """Return the spec that `to_yaml` wrote. Raises OptionError for any other text."""
        with spelled_in(cell_spelling):
            return cls(**read_yaml(text))

    def to_yaml(self) -> str:
        """Return every option as YAML text that repeats the run, the cell's body included.

        Addresses in it have no secret.
        """
        # They decide no curve: those that say nothing are left out.
        left_out = {name for name in _BESIDE if not getattr(self, name)}
        return spec_text.yaml_of(self.model_dump(exclude_none=True, exclude=left_out))

    def to_cell(self, **line_options: str) -> str:
        """Return a cell that repeats the run: `%%fusion`, its options, and its body. The options
        are those that decide every run, and others that are not the default. Addresses in it have
        no secret.

        line_options: options of the line that are none of the run, such as `service`
        """
        return spec_text.cell_of(self._written() | line_options, self.code)

    def to_python(self, **line_options: str) -> str:
        """Return Python that repeats the run in a notebook that has the same variables.

        Addresses in it have no secret. line_options: as in `to_cell`
        """
        return spec_text.python_of(self._written(), self.code, line_options)

    def _written(self) -> dict[str, Any]:
        """Return the options, without the body, that a text that repeats the run has."""
        left_out = {"code"}
        if self.local_steps:
            left_out.add("epochs")
        if self.data_handler and self.data == RunSpec.model_fields["data"].default:
            left_out.add("data")
        if self.ensemble and "rounds" not in self.model_fields_set:
            left_out.add("rounds")  # the ensemble says how many
        others = {*self.model_dump(exclude_defaults=True)}
        return {
            name: value
            for name, value in self.model_dump(exclude=left_out).items()
            if name in others or (name in _DECISIVE and value not in (None, ""))
        }


#: Other name of an option -> its name.
_ALIASES = {
    alias: name
    for name, field in RunSpec.model_fields.items()
    for alias in extra(field).get("aliases", ())
}
#: Options that not every kind of model has.
MODEL_OPTIONS = [
    name for name, field in RunSpec.model_fields.items() if extra(field).get("model_option")
]


def run_option(name: str) -> Option:
    """Return a field of `RunSpec` as an option: its type, its meaning and its bounds."""
    field = RunSpec.model_fields[name]
    return Option(name, Annotated[field.annotation, field], field.default)


def allowed(name: str) -> str:
    """Return the values of an option in words, such as `a number > 0 and <= 1`."""
    return run_option(name).allowed


def named(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options by their names in `RunSpec`, where they have others, such as `clients`.

    Raises OptionError for an option that is given under two names.
    """
    return spec_errors.renamed(options, _ALIASES)


def read_yaml(text: str) -> dict[str, Any]:
    """Return the options in YAML text, unchecked. Raises OptionError for text that is no
    mapping.
    """
    return named(spec_text.read(text))


def _readable(error: ValidationError) -> OptionError:
    """Return pydantic's first complaint as one line."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "extra_forbidden":
        known = list(RunSpec.model_fields)
        return OptionError(
            f"there is no option {name!r}",
            f"{spec_errors.meant(name, [*known, *_ALIASES])}there are: {', '.join(known)}",
            option=name,
            value=first["input"],
            allowed=known,
        )
    value = first["input"]
    if first["type"] == "string_type" and extra(RunSpec.model_fields[name]).get("choices"):
        return OptionError(
            f"{option(name)} is given as {type(value).__name__}",
            f'give its name as text, with options after a colon: {name}="name:option=0.5"',
            option=name,
        )
    hint = spec_errors.or_a_sweep(f"give {allowed(name)}", value)
    if name == "metrics":
        hint = 'give names, as "auc,f1"; a function of yours has one by @fusion_nb.metric'
    return OptionError(f"{option(name, value)} is not allowed", hint)
