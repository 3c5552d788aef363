"""Contributions and unseen parties, measured after the last round of a run."""

from __future__ import annotations

import math

from fusion_nb.core.federation import Federation
from fusion_nb.core.run_control import RunControl
from fusion_nb.errors import FusionError, Stopped
from fusion_nb.reporting.contributions import Contribution, Contributions
from fusion_nb.runs.contribution.coalitions import Coalitions
from fusion_nb.runs.contribution.plan import ContributionPlan
from fusion_nb.runs.contribution.unseen import Unseen
from fusion_nb.runs.contribution.values import leave_one_out, sampled_shapley, shapley
from fusion_nb.runs.resolve import Resolved


class AfterTraining:
    """Measures contributions and unseen parties once for each number of rounds.

    resolved: the objects of the run;  control: stops it between two batches
    """

    def __init__(self, resolved: Resolved, control: RunControl | None = None) -> None:
        self._resolved, self._control = resolved, control or RunControl()
        self.unseen = Unseen(resolved.data.unseen)
        self.contributions = Contributions("")
        self._notes: list[str] = []
        self._done_after = 0

    @property
    def notes(self) -> list[str]:
        """What was found, as sentences."""
        return self._notes

    def finish(self, federation: Federation) -> None:
        """Measure, after the last round. A stop keeps what is whole."""
        num_rounds = len(federation.history)
        if not num_rounds or self._done_after == num_rounds:
            return
        self._done_after, self._notes = num_rounds, []
        self.contributions = Contributions("")
        metric = self._resolved.spec.monitor or federation.model.metrics[0]
        try:
            self.unseen.measure(federation)
        except FusionError as error:
            self._notes.append(f"warning: unseen parties are not measured: {error.message}")
        seen = federation.history.last().get(metric, math.nan)
        self._notes += filter(None, [self.unseen.note(metric, seen)])
        if self._resolved.spec.contribution:
            self._contribute(federation)

    def _contribute(self, federation: Federation) -> None:
        parties = [party.id for party in federation.parties if party.trains]
        spec = self._resolved.spec
        plan = ContributionPlan.of(spec.contribution, parties, spec.seed)
        trained = Coalitions(self._resolved, federation, self._control)
        try:
            for coalition in plan.trained:
                trained.value(coalition)
            methods = [method for method in plan.option.methods if method != "cross_site"]
            values = {method: _values(method, plan, trained) for method in methods}
        except (FusionError, Stopped) as error:
            why = "it was stopped" if isinstance(error, Stopped) else error.message
            self._notes.append(
                f"warning: contribution ended after {trained.num_trained} of {len(plan.trained)} "
                f"trainings: {why}"
            )
            return
        has_matrix = "cross_site" in plan.option.methods
        matrix = _cross_site(trained, federation) if has_matrix else {}
        self.contributions = Contributions(trained.metric, values, matrix, trained.num_trained)


def _values(method: str, plan: ContributionPlan, trained: Coalitions) -> dict[str, Contribution]:
    if method == "leave_one_out":
        return leave_one_out(plan.parties, trained.value)
    if plan.orders:
        found = sampled_shapley(plan.orders, trained.value)
        return {party: found[party] for party in plan.parties}
    return shapley(plan.parties, trained.value)


def _cross_site(trained: Coalitions, federation: Federation) -> dict[str, dict[str, float]]:
    """Return the matrix, its rows and its columns in the order of the run's parties."""
    parties, of_single = [party.id for party in federation.parties], trained.of_single
    return {
        model: {
            party: of_single[model][party][trained.metric]
            for party in parties
            if trained.metric in of_single[model].get(party, {})
        }
        for model in parties
        if model in of_single
    }
