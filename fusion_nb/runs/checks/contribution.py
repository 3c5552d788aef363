"""The rules about contributions of parties, and about parties that never train."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.core.protocols import Asynchronous, NeedsAgreement
from fusion_nb.errors import OptionError, option
from fusion_nb.runs.contribution.plan import ContributionPlan
from fusion_nb.runs.resolve import Resolved
from fusion_nb.runs.spec import RunSpec

#: Parties above which the trainings of leaving one out are hardly meant.
_MANY = 50


def check_contribution(resolved: Resolved) -> Sequence[str]:
    """Check that coalitions of parties can be trained, and say how many will be."""
    spec = resolved.spec
    if not spec.contribution:
        return ()
    given = option("contribution", spec.contribution)
    _check_kind(resolved, given)
    parties = [party.id for party in resolved.data.parties if party.trains]
    if len(parties) < 2:
        raise OptionError(f"{given}, but one party alone trains", "use two or more parties")
    plan = ContributionPlan.of(spec.contribution, parties, spec.seed)
    _, fusion = resolved.joined
    if (needed := fusion.requires.min_updates) > plan.least:
        raise OptionError(
            f"{given} trains coalitions of {plan.least} of the parties, and the fusion needs "
            f"{needed} updates",
            f"use {option('contribution', 'leave_one_out')}, more parties, or another fusion",
        )
    if rule := fusion.asynchronous:
        _check_awaited(plan, rule, option("fusion", spec.fusion), given)
    return [plan.cost, *_warnings(spec, len(parties))]


def _check_awaited(plan: ContributionPlan, rule: Asynchronous, fusion: str, given: str) -> None:
    """Check that no round waits for more updates than the smallest coalition can send."""
    awaited = rule.awaited(rule.concurrency or plan.least)
    if awaited > plan.least:
        raise OptionError(
            f"{given} trains coalitions of {plan.least} of the parties, and a round of {fusion} "
            f"waits for updates of {awaited}",
            "use a smaller buffer, more parties, or another fusion",
        )


def _warnings(spec: RunSpec, num_parties: int) -> list[str]:
    """Return what the values and their cost are not."""
    notes = []
    if spec.privacy:
        notes.append(
            "warning: privacy: epsilon is that of the run alone, without the further trainings of "
            f"{option('contribution')}: who is told their values learns more than it says"
        )
    if num_parties > _MANY:
        notes.append(
            f"warning: contribution over {num_parties} parties trains once or more for each; "
            f"fewer {option('rounds')} or parties take less"
        )
    if spec.fraction < 1 or spec.sampling != RunSpec.model_fields["sampling"].default:
        notes.append(
            "warning: contribution with a cohort of some parties: a coalition's cohorts are others "
            "than the run's, so values differ by chance too"
        )
    return notes


def check_unseen(resolved: Resolved) -> Sequence[str]:
    """Check that the fused model can be measured on rows of parties that never train."""
    spec = resolved.spec
    if not spec.unseen:
        return ()
    _, fusion = resolved.joined
    if fusion.requires.local_layers:
        raise OptionError(
            f"{option('unseen', spec.unseen)}: with {option('personal', spec.personal)} only "
            "parties that train have a whole model",
            f"leave {option('unseen')} out",
        )
    if resolved.model.train_metrics:
        raise OptionError(
            f"{option('unseen', spec.unseen)}: a {resolved.model.kind} is measured on the rows "
            "that a party trained on",
            f"leave {option('unseen')} out",
        )
    return ()


def _check_kind(resolved: Resolved, given: str) -> None:
    """Raise OptionError where a run is more than one training of one model."""
    for name in ("ensemble", "personal", "share"):
        if getattr(resolved.spec, name):
            raise OptionError(
                f"{given} with {option(name, getattr(resolved.spec, name))}: parties have models "
                "of their own, and what each adds to one model is not defined",
                f"leave one of {option('contribution')} and {option(name)} out",
            )
    if resolved.spec.secure:
        raise OptionError(
            f"{given} with {option('secure', resolved.spec.secure)}: sums with a party and without "
            "it give away what the party sends",
            f"leave one of {option('contribution')} and {option('secure')} out",
        )
    if isinstance(resolved.model, NeedsAgreement):
        raise OptionError(
            f"{given}: the parties of a {resolved.model.kind} agree on its parts together, so that "
            "a model without one of them is another one",
            f"leave {option('contribution')} out",
        )
