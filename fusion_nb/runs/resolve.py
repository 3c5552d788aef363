"""From the names in a spec to the objects that they name.

No rule about which options go together is applied here: those are in `checks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fusion_nb.algorithms import attacks, baselines
from fusion_nb.core import registry
from fusion_nb.core.arithmetic import round_half_up
from fusion_nb.core.protocols import (
    DataPoisoning,
    Engine,
    Fusion,
    ModelPoisoning,
    PostTraining,
)
from fusion_nb.core.types.table import TableSchema
from fusion_nb.data.partition import PartitionedData
from fusion_nb.engines.faults import SimulatedFaults, Stragglers
from fusion_nb.errors import OptionError, option
from fusion_nb.models import lookup
from fusion_nb.models.base import Model
from fusion_nb.runs import unlabelled
from fusion_nb.runs.checks.names import COMPONENTS, check_names
from fusion_nb.runs.client_apps import finding
from fusion_nb.runs.contribution.unseen import without_unseen
from fusion_nb.runs.federated import finding as federated
from fusion_nb.runs.privacy import option as privacy
from fusion_nb.runs.privacy.sending import around
from fusion_nb.runs.round_options import (
    RoundOptions,
    with_roles,
)
from fusion_nb.runs.spec import MODEL_OPTIONS, RunSpec
from fusion_nb.runs.spec.errors import about


@dataclass(frozen=True)
class Resolved:
    """A spec with the objects behind its names.

    model:         the adapter of the user's model
    data:          the parties with their rows
    train_options: the options of `Model.fit` that every party has
    rule:          the fusion, a personalization method around it included; None for an ensemble
    personal:      a personalization method that follows the last round
    sharing:       a method that gives each group of parties a model after the last round
    ensemble:      a method that keeps the parties' models and lets them predict together
    faults:        simulated hostile parties, and parties that do less work
    rounds:        the learning rate and the parties of each round
    read_rows:     returns the rows behind the name of a variable or a data set
    shadowed:      options whose value is a variable that has the name of a built-in
    """

    spec: RunSpec
    model: Model
    data: PartitionedData
    train_options: Mapping[str, Any]
    rule: Fusion | None
    personal: PostTraining | None
    sharing: Any
    ensemble: Any
    faults: SimulatedFaults
    rounds: RoundOptions
    read_rows: Callable[[str], np.ndarray]
    shadowed: tuple[str, ...] = ()

    @cached_property
    def joined(self) -> tuple[Model, Fusion]:
        """The model and the fusion of the federation, which an ensemble makes of the parties' one.

        Made on first use: an ensemble needs a model that was tried on some rows.
        """
        if self.rule is not None:
            return self.model, self.rule
        model, fusion = self.ensemble.join(self.model, self.data.parties, self.read_rows)
        return model, fusion

    @cached_property
    def engine(self) -> Engine:
        """The engine, without simulated faults.

        Made on first use: a model with lazy layers has no weights before it was tried on some rows.
        """
        made: Engine = registry.create("engines", self.spec.engine)
        return made

    @property
    def test(self) -> Any:
        """The aggregator's test set; None where only parties have whole models to evaluate."""
        if self.rule is not None and self.rule.requires.local_layers:
            return None
        return self.data.test

    @property
    def baselines(self) -> list[str]:
        """The names of the baselines that are trained.

        A personal model is compared with one that was trained alone, so that `local` is added,
        unless rows are where the parties are.
        """
        names = baselines.parse(self.spec.baseline)
        is_personal = bool(self.spec.personal or self.spec.share)
        is_personal = is_personal and not federated.is_at_parties(self.spec.engine)
        return [*names, "local"] if is_personal and "local" not in names else names

    @property
    def attack(self) -> DataPoisoning | ModelPoisoning | None:
        """The attack of hostile parties, or None."""
        return self.faults.attack

    @property
    def hostile(self) -> tuple[str, ...]:
        """The ids of the hostile parties, which are among those that train."""
        if self.attack is None:
            return ()
        ids = [party.id for party in self.data.parties if party.trains]
        return tuple(attacks.hostile(ids, self.attack.num, self.spec.seed_for("cohort")))

    @property
    def cohort_size(self) -> int:
        """The number of parties that train in a round."""
        num_trained = sum(party.trains for party in self.data.parties)
        return max(1, round_half_up(self.spec.fraction * num_trained))

    @property
    def is_faulty(self) -> bool:
        """Whether faults are simulated."""
        return bool(self.spec.dropout or self.spec.straggler or self.spec.adversary)


def resolve(
    spec: RunSpec, namespace: Mapping[str, Any], data: PartitionedData | None = None
) -> Resolved:
    """Return a spec with the objects behind its names.

    namespace: where names of variables are looked up
    data:      the parties, if they were read before
    Raises a FusionError for a name that is not known, or data that can't be read.
    """
    check_names(spec, namespace)
    with about("model", spec.model):
        native = lookup.find(spec.model, namespace)
    data = data or divide(spec, namespace)
    data = with_roles(data, spec.roles) if spec.roles else data
    data = without_unseen(data, spec.unseen, spec.seed)
    given = {name: getattr(spec, name) for name in MODEL_OPTIONS}
    given["loss"] = _or_variable(spec.loss, namespace)
    with about("model", spec.model):
        if (config := finding.config_of(data)) is not None:
            spec = finding.with_options_of(spec, {**config, "num-server-rounds": spec.rounds})
            model = finding.model(native, spec, config, given)
        else:
            model = lookup.wrap(native, spec.model, **given)
    rounds = RoundOptions.of(spec, namespace, data)
    train_options = _train_options(spec, model, namespace, data.batch_size)
    spec, private = privacy.made(spec, model, data, rounds.sampling, train_options)
    rule, personal = _rule_and_personal(spec, model, private)
    if rule is not None:
        rule = around(spec, rule)
    return Resolved(
        spec=spec,
        model=model,
        data=data,
        train_options=train_options,
        rule=rule,
        personal=personal,
        sharing=_sharing(spec, namespace),
        ensemble=_created(spec, "ensemble"),
        faults=SimulatedFaults(
            _created(spec, "adversary"),
            Stragglers.parse(spec.straggler) if spec.straggler else None,
        ),
        rounds=rounds,
        read_rows=lambda name: unlabelled.read(name, namespace, data.schema),
        shadowed=tuple(
            name
            for name in ("loss", "optimizer")
            if (text := getattr(spec, name)) in model.choices.get(name, ())
            and _or_variable(text, namespace) is not text
        ),
    )


#: Options of a spec that decide which rows each party has.
OF_DATA = (
    "data",
    "data_handler",
    "label",
    "split",
    "parties",
    "holdout",
    "seed",
    "quorum",
    "tabular",
)


def divide(
    spec: RunSpec, namespace: Mapping[str, Any], table: TableSchema | None = None
) -> PartitionedData:
    """Return the parties that a spec makes of its data; names are looked up in `namespace`.

    table: the encoding of a run that goes on, in place of one that is fitted
    """
    if finding.is_app(spec.data, namespace):
        return finding.parties(spec, namespace)
    if (engine := federated.engine_of(spec)) is not None:
        return federated.parties(spec, engine, namespace)
    given = {name: getattr(spec, name) for name in OF_DATA} | {"seed": spec.seed_for("split")}
    keeps_missing = lookup.takes_missing(spec.model, namespace)
    return PartitionedData.load(namespace, **given, table=table, keeps_missing=keeps_missing)


def with_default_rounds(spec: RunSpec, namespace: Mapping[str, Any] | None = None) -> RunSpec:
    """Return a spec with the rounds that its ensemble takes, unless it says how many.

    Options that it does not name are those of a Flower app that it trains.

    Raises OptionError for a number of rounds that the ensemble does not allow.
    """
    check_names(spec, namespace)
    if not spec.ensemble:
        return finding.with_own_options(spec, namespace or {})
    num_rounds = _created(spec, "ensemble").num_rounds
    if "rounds" not in spec.model_fields_set:
        return spec.model_copy(update={"rounds": num_rounds or 1})
    if num_rounds and spec.rounds % num_rounds:
        raise OptionError(
            f"{option('rounds', spec.rounds)} with {option('ensemble', spec.ensemble)}, which "
            f"takes {num_rounds} at a time",
            f"leave it out; {option('epochs')} says how long parties train",
        )
    return spec


def _created(spec: RunSpec, name: str) -> Any:
    """Return the component that an option names, or None where the option is empty."""
    text = getattr(spec, name)
    return registry.create(COMPONENTS[name], text) if text else None


def _rule_and_personal(
    spec: RunSpec, model: Model, private: Fusion | None
) -> tuple[Fusion | None, PostTraining | None]:
    """Return the fusion, with a method for personal models around it, or one that comes last.

    private: the fusion, where it was made private
    """
    if spec.ensemble:
        return None, None
    fusion: Fusion = private or registry.create("fusions", spec.fusion or model.defaults["fusion"])
    if not spec.personal:
        return fusion, None
    made, chosen = registry.bind("personal", spec.personal)
    if isinstance(made, type) and issubclass(made, Fusion):
        around: Any = made
        return around(fusion, **chosen), None
    return fusion, made(**chosen)


def _sharing(spec: RunSpec, namespace: Mapping[str, Any]) -> Any:
    if not spec.share:
        return None
    made, chosen = registry.bind("sharing", spec.share)
    if chosen.get("key") in namespace:
        chosen["key"] = namespace[chosen["key"]]
    return made(**chosen)


def _train_options(
    spec: RunSpec, model: Model, namespace: Mapping[str, Any], batch_size: int | None
) -> dict[str, Any]:
    """Return the options of `fit`. batch_size: of the user's loaders, unless the spec names one."""
    is_own = batch_size is not None and "batch_size" not in spec.model_fields_set
    optimizer = _or_variable(spec.optimizer, namespace) or model.defaults["optimizer"]
    options: dict[str, Any] = {
        "epochs": spec.epochs,
        "batch_size": batch_size if is_own else spec.batch_size,
        "lr": model.default_lr(optimizer) if spec.lr is None else spec.lr,
        "optimizer": optimizer,
    }
    if spec.local_steps:
        options["steps"] = spec.local_steps
    return options


def _or_variable(name: str, namespace: Mapping[str, Any]) -> Any:
    """Return the class, function or optimizer that a variable holds, or else the name itself, which
    the framework knows.
    """
    value = namespace.get(name)
    is_optimizer = any(
        base.__name__ in ("Optimizer", "BaseOptimizer") for base in type(value).__mro__
    )
    return value if callable(value) or is_optimizer else name
