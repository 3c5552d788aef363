"""From a spec to a federation that is ready to train, checked as far as it can be without
training.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from fusion_nb.algorithms import attacks, baselines
from fusion_nb.core import arithmetic, registry
from fusion_nb.core.federation import Federation
from fusion_nb.core.schedule import Schedule
from fusion_nb.core.types import Engine, Fusion
from fusion_nb.data.loading import read
from fusion_nb.data.partition import Division
from fusion_nb.engines.faults import Attack, Faulty, Stragglers, attack_of, misled
from fusion_nb.engines.progress import Watched
from fusion_nb.errors import DataError, OptionError
from fusion_nb.models import base as models
from fusion_nb.runs import changes, checks
from fusion_nb.runs.early_stopping import Until
from fusion_nb.runs.spec import OF_MODEL, RunSpec


def divide(spec: RunSpec, namespace: Mapping[str, Any]) -> Division:
    """Return the parties that a spec makes of its data; names are looked up in `namespace`."""
    names = ("data", "data_handler", "label", "split", "parties", "holdout", "seed")
    return Division.of(namespace, **{name: getattr(spec, name) for name in names})


def build(
    spec: RunSpec, namespace: Mapping[str, Any], division: Division | None = None
) -> Federation:
    """Return the federation that a spec describes, checked as far as it can be without training.

    Names in the spec are looked up in `namespace`. Raises a FusionError for the first thing that
    doesn't fit; what was inferred is added to `division.notes`.
    """
    check_names(spec)
    native = models.find(spec.model, namespace)
    division = division or divide(spec, namespace)
    if spec.min_parties > len(division.parties):
        raise OptionError(
            f"--min-parties {spec.min_parties}, but there are {len(division.parties)}",
            "no word would be left: use fewer",
        )
    given = {name: getattr(spec, name) for name in OF_MODEL} | {
        "loss": _or_variable(spec.loss, namespace)
    }
    model = models.wrap(native, spec.model, **given)
    checks.check_options(spec, model)
    optimizer = _or_variable(spec.optimizer, namespace) or model.defaults["optimizer"]
    lr = model.default_lr(optimizer) if spec.lr is None else spec.lr
    checks.check_kind(spec, model, division)
    checks.check_rows(division)
    checks.check_sizes(model, division)
    # Seeded, since a lazy layer draws its first weights when it sees its first rows.
    with model.seeded(spec.seed):
        notes = model.check(
            division.parties[0].train, division.all_labels(), lr=lr, optimizer=optimizer
        )
    division.notes += notes
    if "accuracy" in model.metrics and (missing := division.missing_classes()):
        division.notes.append(f"warning: no party has a training row of class {', '.join(missing)}")
    arithmetic.check_finite(model.get_weights())
    fusion: Fusion
    closing = None
    if spec.ensemble:
        together = registry.create("ensembles", spec.ensemble)
        model, fusion = together.join(
            model, division.parties, lambda name: _rows(name, namespace, division)
        )
    else:
        fusion, closing = _personal(
            spec, registry.create("fusions", spec.fusion or model.defaults["fusion"])
        )
    checks.check_supports(spec, model, fusion)
    orders = {
        "epochs": spec.epochs,
        "batch_size": spec.batch_size,
        "lr": lr,
        "optimizer": optimizer,
    }
    if spec.local_steps:
        orders["steps"] = spec.local_steps
    keeps_layers = getattr(fusion, "keeps_layers", False)
    if keeps_layers:
        checks.check_own_test_rows(spec, division)
    adversary = registry.create("adversaries", spec.adversary) if spec.adversary else None
    ids = [party.id for party in division.parties]
    hostile = attacks.hostile(ids, adversary.num, spec.seed) if adversary else ()
    federation = Federation(
        parties=division.parties,
        model=model,
        fusion=fusion,
        engine=Watched(_engine(spec, model, fusion, attack_of(adversary, hostile, model))),
        orders=orders,
        seed=spec.seed,
        fraction=spec.fraction,
        quorum=_quorum(spec, len(division.parties)),
        test=None if keeps_layers else division.test,
        evaluate_every=spec.evaluate_every,
        evaluate_rows=spec.evaluate_rows,
        schedule=Schedule.parse(spec.schedule),
    )
    checks.check_fusion(spec, federation)
    if spec.personal and not any(party.num_test for party in division.parties):
        line = (
            "warning: no party has test rows of its own, so nobody's own model is measured; "
            "see --holdout"
        )
        division.notes.append(line)
    _stand_beside(spec, federation, closing, namespace)
    checks.check_metrics(spec, federation)
    federation.changes = changes.plan(spec, federation)
    division.notes += _engines_notes(federation)
    if adversary:
        who = " and ".join(filter(None, (", ".join(hostile[:-1]), hostile[-1])))
        what = (
            f"{'is' if len(hostile) == 1 else 'are'} hostile ({registry.parse(spec.adversary)[0]})"
        )
        division.notes.append(f"simulated: {who} {what}")
        # After what stands beside, which compares with what honest parties would reach.
        federation.parties = misled(division.parties, hostile, adversary, division.all_labels())
    return federation


def settled(spec: RunSpec) -> RunSpec:
    """Return a spec with the rounds that an ensemble takes. Raises OptionError where others were
    asked for.
    """
    check_names(spec)
    num_rounds = registry.create("ensembles", spec.ensemble).num_rounds if spec.ensemble else 0
    given = "rounds" in spec.model_fields_set
    if num_rounds and given and spec.rounds % num_rounds:
        line = (
            f"--rounds {spec.rounds} with --ensemble {spec.ensemble}, which takes "
            f"{num_rounds} at a time"
        )
        raise OptionError(line, "leave it out; --epochs says how long parties train")
    return (
        spec if given or not spec.ensemble else spec.model_copy(update={"rounds": num_rounds or 1})
    )


def _rows(name: str, namespace: Mapping[str, Any], division: Division) -> np.ndarray:
    """Return rows without labels: a variable, or those of a data set. Raises DataError where they
    are others.
    """
    found = namespace.get(name)
    if not hasattr(found, "shape"):
        pool = read(name, namespace).train
        found = (
            pool[0]
            if isinstance(pool, tuple)
            else np.stack([np.asarray(pool[i][0]) for i in range(len(pool))])
        )
    rows = np.asarray(found)
    form = checks.form(division.parties[0].train)
    if form and rows.shape[1:] != form:
        raise DataError(
            f"rows of {name} have shape {rows.shape[1:]}, training rows {form}",
            "give all the same form",
        )
    return rows


def check_names(spec: RunSpec) -> None:
    """Raise OptionError or NameNotFoundError for what is wrong with an option by itself, before
    anything is read.
    """
    for kind, text in (
        ("fusions", spec.fusion),
        ("engines", spec.engine),
        ("adversaries", spec.adversary),
    ):
        if text:
            registry.create(kind, text)
    bound = (
        ("splits", spec.split),
        ("personal", spec.personal),
        ("sharing", spec.share),
        ("ensembles", spec.ensemble),
    )
    for kind, text in bound:
        if text:
            registry.bind(kind, text)
    readers = {
        "until": Until,
        "straggler": Stragglers.parse,
        "schedule": Schedule.parse,
        "changes": changes.parse,
    }
    for name, reader in readers.items():
        if text := getattr(spec, name):
            reader(text)
    baselines.parse(spec.baseline)


def _personal(spec: RunSpec, fusion: Fusion) -> tuple[Fusion, Any]:
    """Return the fusion with what gives each party a model of its own around it, or else what does
    so at the end.
    """
    if not spec.personal:
        return fusion, None
    made, chosen = registry.bind("personal", spec.personal)
    if not hasattr(made, "fuse"):
        return fusion, made(**chosen)
    around = made(fusion, **chosen)
    return around, getattr(around, "closing", None)


def _stand_beside(
    spec: RunSpec, federation: Federation, closing: Any, namespace: Mapping[str, Any]
) -> None:
    """Give a federation what is trained beside it for comparison, and what follows its last
    round.
    """
    names = baselines.parse(spec.baseline)
    beside: list[Any] = []
    if "central" in names:
        beside.append(baselines.Central(federation, registry.create("engines", spec.engine)))
    # Whether a party gains by a model of its own is told beside what it has without anybody.
    if "local" in names or spec.personal or spec.share:
        beside.append(baselines.Local(federation, registry.create("engines", spec.engine)))
    federation.beside, federation.closing = beside, closing
    if spec.share:
        made, chosen = registry.bind("sharing", spec.share)
        if chosen.get("key") in namespace:
            chosen["key"] = namespace[chosen["key"]]
        sharing = made(**chosen)
        sharing.check([party.id for party in federation.parties])
        alone = beside[-1].federation
        federation.closing, federation.owners = lambda _: sharing(alone), alone.parties


#: Numbers in a model that leaves a GPU idle where parties are trained one after the other.
_SMALL = 1_000_000


def chosen_engine(spec: RunSpec, model: models.Model) -> str:
    """Return the engine that a spec names or, for a small model on a GPU, the one that tries what
    is faster there.
    """
    on_gpu = getattr(getattr(model, "device", None), "type", "") == "cuda"
    if "engine" in spec.model_fields_set or not on_gpu:
        return spec.engine
    return (
        "auto"
        if sum(array.size for array in model.get_weights().values()) <= _SMALL
        else spec.engine
    )


def _engine(spec: RunSpec, model: models.Model, fusion: Fusion, attack: Attack | None) -> Engine:
    """Return the engine, with the faults that are to be simulated."""
    engine: Engine = registry.create("engines", chosen_engine(spec, model))
    if not _is_faulty(spec):
        return engine
    stragglers = Stragglers.parse(spec.straggler) if spec.straggler else None
    keeps_partial = getattr(fusion, "keeps_partial", False)
    if stragglers and keeps_partial:
        option = "--local-steps" if spec.local_steps else "--epochs"
        stragglers.check(spec.local_steps or spec.epochs, option)
    return Faulty(
        engine,
        seed=spec.seed,
        dropout=spec.dropout,
        stragglers=stragglers,
        keeps_partial=keeps_partial,
        attack=attack,
        least=getattr(fusion, "min_updates", 1),
    )


def _engines_notes(federation: Federation) -> list[str]:
    """Return what the engine says about the model that it is to train. Raises OptionError where it
    can't.
    """
    watched = cast(Watched, federation.engine)
    check = getattr(watched.innermost, "check", None)
    return check(federation.model, federation.orders, federation.parties) if check else []


def _is_faulty(spec: RunSpec) -> bool:
    return bool(spec.dropout or spec.straggler or spec.adversary)


def _quorum(spec: RunSpec, num_parties: int) -> float:
    """Return the share of a cohort that must answer; where faults are asked for, one party is
    enough.
    """
    if spec.quorum is not None:
        return spec.quorum
    return 1 / num_parties if _is_faulty(spec) else 1.0


def _or_variable(name: str, namespace: Mapping[str, Any]) -> Any:
    """Return the class, function or optimizer that a name is in the notebook, or the name for the
    framework to know.
    """
    found = namespace.get(name)
    is_optimizer = any(
        base.__name__ in ("Optimizer", "BaseOptimizer") for base in type(found).__mro__
    )
    return found if callable(found) or is_optimizer else name
