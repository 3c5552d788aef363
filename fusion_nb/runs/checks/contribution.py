"""The rules about contributions of parties, and about parties that never train."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.core.protocols import NeedsAgreement
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
    notes = [plan.cost]
    if len(parties) > _MANY:
        notes.append(
            f"warning: contribution over {len(parties)} parties trains once or more for each; "
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
    if isinstance(resolved.model, NeedsAgreement):
        raise OptionError(
            f"{given}: the parties of a {resolved.model.kind} agree on its parts together, so that "
            "a model without one of them is another one",
            f"leave {option('contribution')} out",
        )
