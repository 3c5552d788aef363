"""The rules about options, model and data that go together, in the order in which they are applied.

All are applied before any training. Each returns notes for the user, or raises a FusionError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fusion_nb.core import arithmetic, documents, registry
from fusion_nb.core.contracts import check_notes
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import DataError, ModelError, OptionError, nearest, option
from fusion_nb.models.base import Model, setting_names
from fusion_nb.models.predicting import PredictsRows
from fusion_nb.runs import changes
from fusion_nb.runs.checks.class_weights import check_class_weights
from fusion_nb.runs.checks.client_apps import check_client_apps
from fusion_nb.runs.checks.contribution import check_contribution, check_unseen
from fusion_nb.runs.checks.faults import check_stragglers, note_hostile_parties
from fusion_nb.runs.checks.federated import check_running_federation
from fusion_nb.runs.checks.fusions import FUSION_CHECKS, check_supported
from fusion_nb.runs.checks.metrics import check_added_metrics
from fusion_nb.runs.checks.rounds import check_lr_schedule, check_roles, check_schedule, check_send
from fusion_nb.runs.clock.checks import check_asynchronous, check_time, time_metrics
from fusion_nb.runs.early_stopping import Until
from fusion_nb.runs.privacy.checks import check_privacy
from fusion_nb.runs.privacy.reports import check_report
from fusion_nb.runs.resolve import Resolved
from fusion_nb.runs.spec import MODEL_OPTIONS, RunSpec

#: A rule, or a part of the run that has notes for the user.
Check = Callable[[Resolved], Sequence[str]]
#: The prefix of each baseline's metrics.
_PREFIXES = {"central": "central_", "local": "alone_"}


def run_checks(resolved: Resolved) -> list[str]:
    """Apply all rules, and return the notes. Raises the FusionError of the first that is broken."""
    return [note for check in CHECKS for note in check(resolved)]


def absent_options(model: Model | type[Model]) -> set[str]:
    """Return the options of a run that this kind of model does not have."""
    kind = model if isinstance(model, type) else type(model)
    present = model.supported_options | set(setting_names(kind))
    return set(MODEL_OPTIONS) - present - ({"schedule"} if model.has_lr_schedule else set())


def check_min_parties(resolved: Resolved) -> Sequence[str]:
    """Check that a word can be known to as many parties as `min_parties` asks for."""
    wanted, present = resolved.spec.min_parties, len(resolved.data.parties)
    if wanted > present:
        raise OptionError(
            f"{option('min_parties', wanted)}, but there are {present}",
            "no word would be left: use fewer",
        )
    return ()


def check_model_options(resolved: Resolved) -> Sequence[str]:
    """Check that only options that the model has are given."""
    spec, model = resolved.spec, resolved.model
    absent = absent_options(model) - {"schedule"}  # `check_schedule` is about it
    for name in MODEL_OPTIONS:
        if name in absent and getattr(spec, name) != RunSpec.model_fields[name].default:
            present = ", ".join(option(other) for other in MODEL_OPTIONS if other not in absent)
            raise OptionError(
                f"{option(name, getattr(spec, name))}: a {model.kind} has no such option",
                f"leave it out; beside {option('lr')} and {option('epochs')} it has: "
                f"{present or 'none'}",
            )
    return ()


def check_data_kind(resolved: Resolved) -> Sequence[str]:
    """Check that the model takes rows of this kind: numbers, with gaps or without, or documents."""
    spec, model, parties = resolved.spec, resolved.model, resolved.data.parties
    data = option("data", spec.data)
    if resolved.data.schema.rows.kind == "documents":
        if model.data_kind != "documents":
            raise ModelError(
                f"the rows of {data} are documents, and a {model.kind} takes numbers",
                "encode them first, or use a gensim Doc2Vec",
            )
        documents.check_tags({party.id: party.train[0] for party in parties})
    elif model.data_kind == "documents":
        raise ModelError(
            f"the rows of {data} are numbers, and a {model.kind} takes documents",
            f"give texts, lists of words or TaggedDocuments, or {option('data', '20_newsgroup')}",
        )
    rows = resolved.data.schema.rows
    if any(part.has_missing for part in (rows, *rows.parts)) and not model.takes_missing:
        raise DataError(
            f"the rows of {data} hold NaN, and a {model.kind} takes no missing numbers",
            f"fill or drop those rows first; or give tables with {option('tabular', 'auto')}, "
            "which fills gaps alike at all parties",
        )
    return ()


def check_party_sizes(resolved: Resolved) -> Sequence[str]:
    """Check that parties and batches have as many training rows as the model needs."""
    needed = resolved.model.min_rows
    trained = [party for party in resolved.data.parties if party.trains]
    small = [party.id for party in trained if party.num_examples < needed]
    if small:
        raise ModelError(
            f"{len(small)} parties have fewer than the {needed} training rows that this model "
            f"needs ({', '.join(small[:3])})",
            f"use fewer parties, a more even split, or {option('holdout', 0)} with a test set",
            option="parties",
        )
    size = resolved.train_options.get("batch_size", needed)
    if size < needed:
        raise ModelError(
            f"{option('batch_size', size)}: this model can't be trained on a batch of fewer than "
            f"{needed} rows",
            "use a larger batch: batch normalization, say, has no variance of one row",
        )
    return ()


def check_model(resolved: Resolved) -> Sequence[str]:
    """Check that the model can be trained on these rows: a few of them are tried."""
    model, data, options = resolved.model, resolved.data, resolved.train_options
    # Seeded, since a lazy layer draws its first weights when it sees its first rows.
    with model.seeded(resolved.spec.seed_for("weights")), _about_inputs(data.schema):
        found = model.check(
            data.example,
            data.schema,
            lr=options["lr"],
            optimizer=options["optimizer"],
        )
    return check_notes(f"check() of a {model.kind}", found)


@contextmanager
def _about_inputs(schema: DataSchema) -> Iterator[None]:
    """Let an error about the shape of rows say which columns of a table they were made from."""
    try:
        yield
    except ModelError as error:
        parts = error.to_dict()
        if schema.table is None or str(schema.rows.shape) not in parts["message"]:
            raise
        hint = f"{parts['hint']}; the table's {schema.table.describe()}"
        raise ModelError(parts["message"], hint) from error.__cause__


def note_missing_classes(resolved: Resolved) -> Sequence[str]:
    """Note the classes that no party can learn."""
    if "accuracy" not in resolved.model.metrics:
        return ()
    model = resolved.model
    missing = resolved.data.missing_classes(
        model.ignored_label,
        skips_numbers=isinstance(model, PredictsRows) and model.skips_numbers,
    )
    if not missing:
        return ()
    return [f"warning: no party has a training row of class {', '.join(missing)}"]


def check_counted_labels(resolved: Resolved) -> Sequence[str]:
    """Check that the loss does not leave out all labels of training or of test rows."""
    ignored, data = resolved.model.ignored_label, resolved.data
    if ignored is None:
        return ()
    trained, own_tests = zip(*data.labels.values(), strict=True)
    tests = own_tests if data.test is None else (data.test_labels,)
    for labels, which in ((trained, "training"), (tests, "test")):
        if not any(bool((part != ignored).any()) for part in labels):
            raise ModelError(
                f"the loss leaves out all labels of {which} rows: they are {ignored}",
                "give rows with other labels, or another ignore_index",
            )
    return ()


def check_finite_weights(resolved: Resolved) -> Sequence[str]:
    """Check that the first weights are finite numbers."""
    arithmetic.check_finite(resolved.model.get_weights())
    return ()


def check_ensemble(resolved: Resolved) -> Sequence[str]:
    """Check that the ensemble goes together with the model and the rows: it is made here."""
    labels = resolved.data.schema.labels
    is_stacked = registry.parse(resolved.spec.ensemble)[0] == "stack"
    if is_stacked and labels.scale != 1:
        raise OptionError(
            f"{option('ensemble', 'stack')} compares predictions with labels as they are stored, "
            f"and these run from {labels.low:g} to {labels.high:g}",
            f"divide them by {labels.scale:g} first",
        )
    if resolved.ensemble is not None:
        _ = resolved.joined
    return ()


def check_own_test_rows(resolved: Resolved) -> Sequence[str]:
    """Check that parties have test rows of their own where only they have whole models."""
    if resolved.rule is None or not resolved.rule.requires.local_layers:
        return ()
    if not all(party.num_test for party in resolved.data.parties):
        raise OptionError(
            f"{option('personal', resolved.spec.personal)}: only parties have whole models, and "
            "not all have test rows of their own",
            f"hold some back with {option('holdout', 0.2)}, or use fewer parties",
        )
    if resolved.data.test is None:
        return ()
    return [
        "the central test set is not used: only parties have whole models, and measure them on "
        "their own rows"
    ]


def note_unmeasured_models(resolved: Resolved) -> Sequence[str]:
    """Note that personal models are not measured without test rows of a party's own."""
    has_tests = any(party.num_test for party in resolved.data.parties)
    if not resolved.spec.personal or has_tests:
        return ()
    return [
        "warning: no party has test rows of its own, so nobody's own model is measured; see "
        "--holdout"
    ]


def check_central_baseline(resolved: Resolved) -> Sequence[str]:
    """Check that the baseline `central` can be trained on all rows, as long as the cohorts are."""
    if "central" not in resolved.baselines:
        return ()
    spec, model, parties = resolved.spec, resolved.model, resolved.data.parties
    if "local_steps" not in model.supported_options and spec.fraction < 1:
        raise OptionError(
            f"{option('baseline', 'central')} with {option('fraction', f'{spec.fraction:g}')}: a "
            f"{model.kind} trains whole epochs only",
            "leave one of them out",
        )
    rows = [party.train for party in parties] + [party.test for party in parties if party.num_test]
    if len({isinstance(part, tuple) for part in rows}) > 1:
        raise OptionError(
            f"{option('baseline', 'central')}, but some parties hold arrays and others a Dataset",
            "give all the same kind, or leave it out",
        )
    return ()


def check_sharing(resolved: Resolved) -> Sequence[str]:
    """Check that the groups of `share` fit the parties."""
    if resolved.sharing is not None:
        resolved.sharing.check([party.id for party in resolved.data.parties])
    return ()


def check_metric_names(resolved: Resolved) -> Sequence[str]:
    """Check that options that name a metric name one that the run has in its rounds."""
    spec, metrics = resolved.spec, _metric_names(resolved)
    if spec.until:
        Until(spec.until).check(metrics)
    if spec.monitor and spec.monitor not in metrics:
        raise OptionError(
            f"{option('monitor')} names the metric {spec.monitor!r}, which this run does not have",
            f"{nearest(spec.monitor, metrics)}this run will have: {', '.join(metrics)}",
            value=spec.monitor,
            allowed=metrics,
        )
    if spec.monitor and spec.monitor in ("epsilon", *time_metrics(resolved)):
        raise OptionError(
            f"{option('monitor', spec.monitor)}: it grows from round to round, and does not say "
            "how good the model is",
            f'{option("until")} "{spec.monitor} >= 5" stops a run at a value of it',
        )
    return ()


def check_changes(resolved: Resolved) -> Sequence[str]:
    """Check that the planned changes are allowed."""
    changes.plan(resolved)
    return ()


def note_shadowed_names(resolved: Resolved) -> Sequence[str]:
    """Note the variables that take the place of a built-in of the same name."""
    return [
        f"warning: the {name} is the variable {getattr(resolved.spec, name)!r} of this notebook, "
        f"not the built-in {name} of that name"
        for name in resolved.shadowed
    ]


def check_engine(resolved: Resolved) -> Sequence[str]:
    """Check that the engine can train the model; it may have notes."""
    model, fusion = resolved.joined
    per_row = {name: value for name, value in fusion.client_options.items() if name == "per_row"}
    options = {**resolved.train_options, **per_row}
    found = resolved.engine.check(model, options, resolved.data.parties)
    return check_notes("check() of the engine", found)


#: All rules, in the order in which a user should hear of what is wrong.
CHECKS: tuple[Check, ...] = (
    check_min_parties,
    check_model_options,
    check_client_apps,
    check_running_federation,
    check_data_kind,
    check_model,
    check_class_weights,
    check_added_metrics,
    check_party_sizes,
    note_shadowed_names,
    note_missing_classes,
    check_counted_labels,
    check_finite_weights,
    check_ensemble,
    check_lr_schedule,
    check_schedule,
    check_roles,
    check_send,
    check_privacy,
    check_report,
    check_supported,
    check_own_test_rows,
    check_stragglers,
    check_time,
    check_asynchronous,
    *FUSION_CHECKS,
    note_unmeasured_models,
    check_central_baseline,
    check_sharing,
    check_metric_names,
    check_changes,
    check_engine,
    note_hostile_parties,
    check_unseen,
    check_contribution,
)


def _metric_names(resolved: Resolved) -> list[str]:
    """Return the names of the metrics that the rounds have."""
    model, fusion = resolved.joined
    prefixes = [_PREFIXES[name] for name in _PREFIXES if name in resolved.baselines]
    in_rounds = resolved.personal is None and not fusion.has_post_training
    if resolved.spec.personal and in_rounds:
        prefixes.append("personal_")
    return [
        *(["train_loss"] if resolved.spec.report != "none" else []),
        *model.metrics,
        *(prefix + name for prefix in prefixes for name in model.metrics),
        *time_metrics(resolved),
        *fusion.metric_names,
    ]
