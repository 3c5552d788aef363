"""Contributions and unseen parties, measured after the last round of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fusion_nb.core.federation import Federation
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.types import Metrics
from fusion_nb.errors import FusionError, Stopped
from fusion_nb.runs.contribution.coalitions import Coalitions
from fusion_nb.runs.contribution.plan import ContributionPlan
from fusion_nb.runs.contribution.unseen import Unseen
from fusion_nb.runs.contribution.values import (
    Contribution,
    leave_one_out,
    sampled_shapley,
    shapley,
)
from fusion_nb.runs.resolve import Resolved

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Contributions:
    """What parties contribute to the fused model, by a metric.

    metric:     the one that values are differences of: positive where a party makes it better
    values:     method -> party -> its value
    cross_site: party -> party -> the metric of the first one's model, trained alone, on the test
                rows of the second; empty where it was not asked for
    num_trainings: those that it took
    """

    metric: str
    values: Mapping[str, Mapping[str, Contribution]] = field(default_factory=dict)
    cross_site: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    num_trainings: int = 0

    def of(self, party: str) -> Metrics:
        """Return a party's values by method, with `_low` and `_high` where they were sampled."""
        found: Metrics = {}
        for method, values in self.values.items():
            if (each := values.get(party)) is None:
                continue
            found[method] = each.value
            if each.low != each.high:
                found |= {f"{method}_low": each.low, f"{method}_high": each.high}
        return found

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row for each party."""
        import pandas as pd

        parties = dict.fromkeys(party for values in self.values.values() for party in values)
        return pd.DataFrame([{"party": party} | self.of(party) for party in parties])

    def cross_site_frame(self) -> pd.DataFrame:
        """Return the cross-site matrix: a row for each model, a column for the rows it is on."""
        import pandas as pd

        frame = pd.DataFrame.from_dict(self.cross_site, orient="index")
        return frame.rename_axis(index="model of", columns=f"{self.metric} on the rows of")

    def __repr__(self) -> str:
        parts = [self.to_frame().to_string(index=False)] if self.values else []
        parts += [self.cross_site_frame().to_string()] if self.cross_site else []
        return "\n\n".join(parts) or "no contributions: give the option contribution"


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
        matrix = _cross_site(trained) if has_matrix else {}
        self.contributions = Contributions(trained.metric, values, matrix, trained.num_trained)


def _values(method: str, plan: ContributionPlan, trained: Coalitions) -> dict[str, Contribution]:
    if method == "leave_one_out":
        return leave_one_out(plan.parties, trained.value)
    if plan.orders:
        found = sampled_shapley(plan.orders, trained.value)
        return {party: found[party] for party in plan.parties}
    return shapley(plan.parties, trained.value)


def _cross_site(trained: Coalitions) -> dict[str, dict[str, float]]:
    metric = trained.metric
    return {
        model: {party: found[metric] for party, found in metrics.items() if metric in found}
        for model, metrics in trained.of_single.items()
    }
