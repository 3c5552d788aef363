"""The rules about privacy and the other options of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fusion_nb.algorithms.fusions.fusion_wrapper import FusionWrapper
from fusion_nb.algorithms.privacy.base import PrivateFusion
from fusion_nb.core.protocols import Fusion, NeedsAgreement
from fusion_nb.errors import ModelError, OptionError, RunError, option
from fusion_nb.models.base import Model
from fusion_nb.models.per_row import PerRowTrainable
from fusion_nb.runs.federated.finding import is_at_parties
from fusion_nb.runs.resolve import Resolved

#: Personalization methods whose models stay at the party.
_PERSONAL = ("finetune", "ditto")
_FOR_PARTIES = "protect whole parties, by central:clip=1,noise=1"


def private_rule(fusion: Fusion | None) -> PrivateFusion | None:
    """Return the private rule that a fusion is, or that it is made around; None without one."""
    while isinstance(fusion, FusionWrapper) and not isinstance(fusion, PrivateFusion):
        fusion = fusion.inner
    return fusion if isinstance(fusion, PrivateFusion) else None


def check_privacy(resolved: Resolved) -> Sequence[str]:
    """Check that model and options go together with privacy; note what the rounds will cost."""
    rule = private_rule(resolved.rule)
    if rule is None:
        return ()
    spec = resolved.spec
    given = option("privacy", spec.privacy)
    _check_model(resolved.model, given)
    if rule.kind == "rows":
        _check_rows(resolved, given)
    if spec.personal and not spec.personal.startswith(_PERSONAL):
        raise OptionError(
            f"{given} with {option('personal', spec.personal)}, whose parties tell more than one "
            "update in a round",
            "use finetune or ditto, or leave it out",
        )
    if spec.over_select:
        raise OptionError(
            f"{given} with {option('over_select', f'{spec.over_select:g}')}, which takes the first "
            "updates, so that the rows of one party decide whose others are in a round",
            f"leave it out, or end rounds by {option('deadline')}",
        )
    if spec.share:
        raise OptionError(
            f"{given} with {option('share', spec.share)}, which hands on parties' models as they "
            "are",
            "leave it out",
        )
    try:
        rule.check_budget(None, spec.rounds)
    except RunError as error:
        raise OptionError(
            f"{given}: {error.message}",
            f"train fewer rounds, use more noise, or noise=auto:epsilon={rule.budget:g}",
        ) from None
    return _notes(rule, resolved)


def _check_model(model: Model, given: str) -> None:
    if isinstance(model, NeedsAgreement):
        raise ModelError(
            f"{given}: what parties of a {model.kind} agree on before round 1, such as words or "
            "classes, is "
            "told without noise",
            "use a model that needs no agreement, such as a neural network",
        )
    if model.weights_kind != "numbers" or not model.trained_names():
        raise ModelError(
            f"{given} limits what gradients change, and a {model.kind} is not trained by gradients",
            "use a neural network or a linear model",
        )
    if statistics := sorted(model.batch_norm_names() - model.trained_names()):
        raise ModelError(
            f"{given}: {statistics[0]!r} holds statistics of the parties' rows, which gradients "
            "don't train and privacy does not cover",
            "use GroupNorm or LayerNorm in place of BatchNorm",
        )


def _check_rows(resolved: Resolved, given: str) -> None:
    model, spec = resolved.model, resolved.spec
    if not isinstance(model, PerRowTrainable):
        raise ModelError(
            f"{given} clips the gradient of each row, which a {model.kind} does not give",
            f"use a PyTorch model, or {_FOR_PARTIES}",
        )
    if reason := model.per_row_obstacle():
        raise ModelError(
            f"{given} clips the gradient of each row, which is not possible here: {reason}",
            f"change that, or {_FOR_PARTIES}",
        )
    for name in ("personal", "class_weights"):
        if getattr(spec, name):
            raise OptionError(
                f"{given} with {option(name, getattr(spec, name))}, which uses rows without noise",
                "leave it out",
            )


def _notes(rule: PrivateFusion, resolved: Resolved) -> list[str]:
    spec = resolved.spec
    spent = rule.epsilon_after(None, spec.rounds)
    if not math.isfinite(spent):
        return ["warning: privacy: the noise is 0, so that nothing is private"]
    word = "round" if spec.rounds == 1 else "rounds"
    # Whom a secret draw will take is not known before.
    is_bound = rule.kind != "central" and rule.has_secret_cohorts
    most = "at most " if is_bound else ""
    budget = f", of a budget of {rule.budget:g}" if rule.budget else ""
    notes = [
        f"privacy: {spec.rounds} {word} will cost {most}epsilon {spent:.3g}{budget} "
        f"({spec.privacy})"
    ]
    if rule.kind != "central" and is_at_parties(spec.engine):
        notes.append(
            "warning: privacy: parties draw their noise from the run's seed, which the aggregator "
            "knows here, so that it could take the noise off again; only others can't"
        )
    trained = [party for party in resolved.data.parties if party.trains]
    count, what = len(trained), "party"
    if rule.kind == "rows":
        count, what = max(party.num_examples for party in trained), "row"
    if rule.delta >= 1 / count:
        notes.append(
            f"warning: privacy: delta {rule.delta:g} is no less than 1 / {count}, so that it would "
            f"allow to publish a whole {what}"
        )
    if spent > 20:
        notes.append(f"warning: privacy: epsilon {spent:.3g} is so large that it promises little")
    if resolved.baselines:
        notes.append("privacy: baselines are trained without it")
    return notes
