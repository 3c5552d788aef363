"""What can be told, before any training, not to go together."""

from __future__ import annotations

from typing import Any

import numpy as np

from fusion_nb.algorithms.fusions.base import Around
from fusion_nb.core import documents, registry
from fusion_nb.core.federation import Federation
from fusion_nb.core.types import Fusion
from fusion_nb.data.partition import Division
from fusion_nb.errors import DataError, ModelError, OptionError, nearest
from fusion_nb.models import base as models
from fusion_nb.models.optimizers import has_momentum, is_sgd
from fusion_nb.runs.early_stopping import Until
from fusion_nb.runs.spec import OF_MODEL, RunSpec

#: Methods for personal models that need nothing of the fusion.
_WITH_ANY_FUSION = ("finetune", "ditto")


def absent_options(model: models.Model | type[models.Model]) -> set[str]:
    """Return the options of a run that this kind of model does not have."""
    settings = models.settings(model) if isinstance(model, type) else model.settings
    has = model.orders | set(settings) | ({"schedule"} if model.is_scheduled else set())
    return set(OF_MODEL) - has


def check_options(spec: RunSpec, model: models.Model) -> None:
    """Raise OptionError for an option that was given and that this kind of model does not have."""
    absent = absent_options(model)
    for name in OF_MODEL:
        if name in absent and getattr(spec, name) != RunSpec.model_fields[name].default:
            listed = ", ".join(
                f"--{option.replace('_', '-')}" for option in OF_MODEL if option not in absent
            )
            line = (
                f"--{name.replace('_', '-')} {getattr(spec, name)}: a {model.kind} has no "
                "such option"
            )
            raise OptionError(
                line, f"leave it out; beside --lr and --epochs it has: {listed or 'none'}"
            )


def check_fusion(spec: RunSpec, federation: Federation) -> None:
    """Raise OptionError where the fusion doesn't go together with the other options."""
    fusion, orders, name = federation.fusion, federation.orders, spec.fusion
    if getattr(fusion, "everyone", False) and spec.fraction < 1:
        line = f"--fraction {spec.fraction:g}, but with {name} all parties take part in every round"
        raise OptionError(line, "leave --fraction out, or use another fusion")
    if getattr(fusion, "needs_sgd", False) and not is_sgd(orders["optimizer"]):
        line = (
            f"--optimizer {spec.optimizer or orders['optimizer']}, but {name} needs plain SGD "
            "at the parties"
        )
        raise OptionError(line, "use --optimizer sgd, or sgd:momentum=0.9")
    if (
        getattr(fusion, "needs_travel", False)
        and spec.keep_optimizer
        and has_momentum(orders["optimizer"])
    ):
        line = (
            f"--keep-optimizer with {spec.optimizer}, but {name} has to know how far a "
            "round's steps travel"
        )
        raise OptionError(line, "leave --keep-optimizer or the momentum out")
    if hasattr(fusion, "asks") and spec.personal and not spec.personal.startswith(_WITH_ANY_FUSION):
        line = (
            f"--personal {spec.personal} with --fusion {name}, whose parties keep weights of "
            "their own already"
        )
        raise OptionError(line, "use finetune or ditto, or another fusion")
    if spec.personal.startswith("ifca") and getattr(fusion, "may_be_silent", False):
        line = (
            f"--personal {spec.personal} with --fusion {name}: a party that stays silent has "
            "no say in its cluster"
        )
        raise OptionError(line, "use another fusion")
    if spec.ensemble and (
        others := [o for o in ("fusion", "personal", "share") if getattr(spec, o)]
    ):
        line = (
            f"--ensemble {spec.ensemble} with --{others[0]}: an ensemble keeps the parties' "
            "models, and fuses none"
        )
        raise OptionError(line, "use one of them")
    if spec.personal and spec.share:
        raise OptionError(
            "--personal and --share both give each party its model", "use one of them"
        )
    if spec.adversary:
        _check_adversary(spec, federation)
    least, most = getattr(fusion, "min_updates", 1), len(federation.cohort(1))
    if most < least:
        line = f"--fusion {name} needs {least} parties in a round, and there are {most}"
        raise OptionError(
            line, "use more parties, a larger --fraction, or other numbers for the rule"
        )


def _check_adversary(spec: RunSpec, federation: Federation) -> None:
    """Raise OptionError, or DataError, where hostile parties can't do what they are to do."""
    fusion, model, option = federation.fusion, federation.model, f"--adversary {spec.adversary}"
    if hasattr(registry.get("adversaries", registry.parse(spec.adversary)[0]), "flipped"):
        if model.takes == "documents":
            line = (
                f"{option}, but a {model.kind} learns from words alone: its labels have no "
                "part in it"
            )
            raise OptionError(line, "use another adversary, such as bit_flip")
        if "accuracy" not in model.metrics:
            raise DataError(
                f"{option}, but the labels are measurements",
                "use another adversary, such as bit_flip",
            )
    elif hasattr(fusion, "asks"):
        line = (
            f"{option} with --fusion {spec.fusion}, whose parties keep their weights and send "
            "them only when asked"
        )
        raise OptionError(line, "use label_flip, or another fusion")
    elif spec.ensemble and getattr(fusion, "sends_part", False):
        line = f"{option} with --ensemble {spec.ensemble}, which keeps the parties' models apart"
        raise OptionError(line, "use label_flip, or a fusion")


def check_own_test_rows(spec: RunSpec, division: Division) -> None:
    """Raise OptionError where only the aggregator could measure, and parties alone have whole
    models.
    """
    if not all(party.num_test for party in division.parties):
        line = (
            f"--personal {spec.personal}: only parties have whole models, and not all have "
            "test rows of their own"
        )
        raise OptionError(line, "hold some back with --holdout 0.2, or use fewer parties")
    if division.test is not None:
        line = (
            "the central test set is not used: only parties have whole models, and measure "
            "them on their own rows"
        )
        division.notes.append(line)


def check_rows(division: Division) -> None:
    """Raise DataError where test rows are not of the form of the training rows."""
    wanted = form(division.parties[0].train)
    tests = {"the central test set": division.test} | {
        f"the test set of {p.id}": p.test for p in division.parties
    }
    for name, rows in tests.items():
        if rows is not None and wanted and form(rows) and form(rows) != wanted:
            raise DataError(
                f"rows of {name} have shape {form(rows)}, training rows {wanted}",
                "give all the same form",
            )


def check_kind(spec: RunSpec, model: models.Model, division: Division) -> None:
    """Raise ModelError where the rows are documents and the model wants numbers, or the other way
    round.
    """
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


def form(rows: Any) -> tuple[int, ...]:
    """Return the shape of a row, where it can be told without reading any."""
    return np.shape(rows[0])[1:] if isinstance(rows, tuple) else ()


def unsupported(model: models.Model | type[models.Model], fusion: Fusion) -> list[str]:
    """Return what a fusion asks of local training that this kind of model can't do."""
    return sorted(set(fusion.local) - model.supports)


def check_supports(spec: RunSpec, model: models.Model, fusion: Fusion) -> None:
    """Raise OptionError where local training is asked for what this kind of model can't do."""
    if refused := unsupported(model, fusion):
        what, instead = (
            f"--fusion {spec.fusion}",
            f"use another fusion, such as {model.defaults['fusion']}",
        )
        if isinstance(fusion, Around) and not unsupported(model, fusion.inner):
            what, instead = f"--personal {spec.personal}", "leave it out, or use finetune"
        raise OptionError(
            f"{what} asks every party for {', '.join(refused)}, which a {model.kind} can't do",
            instead,
        )


def check_metrics(spec: RunSpec, federation: Federation) -> None:
    """Raise OptionError where an option names a metric that the run will not have in its rounds."""
    metrics = ["train_loss", *federation.model.metrics]
    beside = {"central": "central_", "local": "alone_"}
    starts = [start for name, start in beside.items() if name in spec.baseline]
    if (spec.personal or spec.share) and "alone_" not in starts:
        starts.append("alone_")
    if spec.personal and federation.closing is None:
        starts.append("personal_")
    metrics += [start + name for start in starts for name in federation.model.metrics]
    if spec.until:
        Until(spec.until).check(metrics)
    if spec.monitor and spec.monitor not in metrics:
        hint = f"{nearest(spec.monitor, metrics)}this run will have: {', '.join(metrics)}"
        raise OptionError(
            f"--monitor names the metric {spec.monitor!r}, which this run does not have", hint
        )


def check_sizes(model: models.Model, division: Division) -> None:
    """Raise ModelError where parties have fewer training rows than the model can be trained on."""
    if small := [party.id for party in division.parties if party.num_examples < model.min_rows]:
        raise ModelError(
            f"{len(small)} parties have fewer than the {model.min_rows} training rows that this "
            "model needs "
            f"({', '.join(small[:3])})",
            "use fewer parties, a more even split, or --holdout 0 with a test set",
        )
