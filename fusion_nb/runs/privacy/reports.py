"""The option `report`: the metrics that parties tell, and what noisy ones leave open."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fusion_nb.algorithms.fusions.fusion_wrapper import innermost
from fusion_nb.algorithms.fusions.qfedavg import QFedAvg
from fusion_nb.algorithms.privacy.accounting import gaussian_epsilon
from fusion_nb.core.history import History
from fusion_nb.core.protocols import Engine
from fusion_nb.engines.reporting import ReportingEngine, Reports
from fusion_nb.errors import OptionError, option
from fusion_nb.runs.privacy.identity import identity
from fusion_nb.runs.resolve import Resolved
from fusion_nb.runs.spec import RunSpec

#: Delta of the metrics together.
_DELTA = 1e-5
#: Samplings that choose parties by their losses.
_BY_LOSSES = ("loss", "oort")
#: Options whose metrics of single parties are measured in this process, and not reported.
_AS_THEY_ARE = ("baseline", "personal", "share", "unseen")


def around(engine: Engine, resolved: Resolved) -> Engine:
    """Return an engine whose parties report metrics as the spec says."""
    spec = resolved.spec
    reports = Reports.parse(spec.report)
    if reports.kind == "plain":
        return engine
    rule = "\0".join((spec.fusion, spec.privacy, spec.ensemble, spec.personal))
    decided = identity(spec, rule, resolved.train_options, resolved.data)
    return ReportingEngine(engine, reports, seed=spec.seed, identity=decided)


def check_report(resolved: Resolved) -> Sequence[str]:
    """Check that somebody measures the fused model where parties report nothing."""
    spec, model = resolved.spec, resolved.model
    reports, given = Reports.parse(spec.report), option("report", spec.report)
    if reports.kind == "plain":
        return ()
    if model.added_metrics or model.train_metrics:
        raise OptionError(
            f"{given}: metrics of this run are joined from sums of the parties, which have no "
            "noise",
            f"leave it out, or {option('metrics')}",
        )
    if isinstance(innermost(resolved.joined[1]), QFedAvg):
        raise OptionError(
            f"{given}, but parties of qfedavg send their losses beside the weights",
            "use another fusion",
        )
    if spec.ensemble.partition(":")[0] == "stack":
        raise OptionError(
            f"{given}, but parties send sums of their predictions and labels for "
            f"{option('ensemble', spec.ensemble)}",
            f"use {option('ensemble', 'mean')}",
        )
    if reports.kind == "none" and spec.sampling.partition(":")[0] in _BY_LOSSES:
        raise OptionError(
            f"{given}, but {option('sampling', spec.sampling)} chooses parties by the losses that "
            "they tell",
            f"use another {option('sampling')}, or noised:noise=5",
        )
    if reports.kind == "none" and resolved.test is None:
        raise OptionError(
            f"{given}, but the model is measured on the parties' own test rows only",
            "give a central test set, or noised:noise=5",
        )
    others = [name for name in _AS_THEY_ARE if getattr(spec, name)]
    named = ", ".join(map(option, others))
    notes = [f"warning: report: some metrics that come with {named} are told as they are"]
    notes = notes if others else []
    if reports.kind == "none":
        told = "report: parties tell no metrics; the model is measured on the central test set"
        return [told, *notes]
    return [
        *notes,
        f"report: metrics of parties are clipped to 0..{reports.bound:g}, with noise of "
        f"{reports.noise * reports.bound:g} on each; a larger loss is told as {reports.bound:g}",
    ]


def report_notes(spec: RunSpec, history: History) -> list[str]:
    """Return what the noisy metrics of these rounds leave open, as a sentence."""
    reports = Reports.parse(spec.report)
    if reports.kind != "noised" or not history:
        return []
    counts: dict[str, int] = {}
    for record in history:
        for party, metrics in record.party_metrics.items():
            counts[party] = counts.get(party, 0) + len(metrics)
    most = max(counts.values(), default=0)
    spent = gaussian_epsilon(math.sqrt(most) / reports.noise, _DELTA) if most else 0.0
    return [
        f"report: the metrics that one party told, {most} at most, cost epsilon {spent:.3g} at "
        f"delta {_DELTA:g} for any other rows of the party, beside and on top of the weights"
    ]
