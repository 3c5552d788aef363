"""Federations of some of a run's parties, trained as the run was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fusion_nb.core.evaluation import Evaluator
from fusion_nb.core.federation import Federation
from fusion_nb.core.history import is_higher_better
from fusion_nb.core.party import Party
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.types import PartyMetrics, RoundRecord, Weights
from fusion_nb.runs import change_text
from fusion_nb.runs.assemble import assemble
from fusion_nb.runs.contribution.values import Coalition
from fusion_nb.runs.resolve import Resolved


@dataclass(frozen=True)
class CoalitionResolved(Resolved):
    """The objects of a run in which other parties than a coalition only evaluate.

    hostile_parties: those of the whole run, which stay hostile in each coalition
    """

    hostile_parties: tuple[str, ...] = ()

    @property
    def hostile(self) -> tuple[str, ...]:
        """The ids of the hostile parties."""
        return self.hostile_parties


class Coalitions:
    """Trains coalitions of a run's parties, each once, and evaluates them on the same rows.

    resolved: the objects of the run;  federation: the run's, whose first weights they begin with
    control:  stops them between two batches
    All are measured where the run is: on the central test set, or else on all parties' test rows.
    """

    def __init__(self, resolved: Resolved, federation: Federation, control: RunControl) -> None:
        self._resolved, self._main, self._control = resolved, federation, control
        self._metric = resolved.spec.monitor or federation.model.metrics[0]
        self._values: dict[Coalition, float] = {}
        #: The coalitions that were trained so far.
        self.num_trained = 0
        #: Of coalitions of one party: the metrics of its model on each party's test rows.
        self.of_single: dict[str, PartyMetrics] = {}

    @property
    def metric(self) -> str:
        """The metric that values are differences of."""
        return self._metric

    def value(self, coalition: Coalition) -> float:
        """Return the metric of a coalition's model; the negative of one that is better lower."""
        if coalition not in self._values:
            metrics = self._metrics(coalition)
            value = metrics.get(self._metric, float("nan"))
            self._values[coalition] = value if is_higher_better(self._metric) else -value
        return self._values[coalition]

    def _metrics(self, coalition: Coalition) -> Mapping[str, float]:
        if coalition == {party.id for party in self._main.parties if party.trains}:
            return self._of_run()
        federation = self._federation(coalition)
        try:
            if not coalition:
                return self._untrained(federation)
            record = self._last_round(federation)
            self.num_trained += 1
        finally:
            federation.close()
        if len(coalition) == 1:
            self.of_single[next(iter(coalition))] = record.party_metrics
        return record.metrics

    def _last_round(self, federation: Federation) -> RoundRecord:
        num_rounds = len(self._main.history)
        federation.config.schedule.extend(num_rounds, None)
        return [*federation.rounds(num_rounds)][-1]

    def _of_run(self) -> Mapping[str, float]:
        """Return the metrics of the run itself on all rows, as a coalition has them.

        A run that ended early may not have measured its last round, or on some of the rows.
        """
        last = self._main.history[-1].metrics
        if self._metric in last and not self._resolved.spec.evaluate_rows:
            return last
        return self._evaluated(self._main, self._main.weights, len(self._main.history))

    def _untrained(self, federation: Federation) -> Mapping[str, float]:
        """Return the metrics of the first weights, which nobody trained."""
        return self._evaluated(federation, federation.network.initial_weights, 0)

    def _evaluated(
        self, federation: Federation, weights: Weights, round: int
    ) -> Mapping[str, float]:
        evaluator = Evaluator(federation.parties, federation.model, self._resolved.test, quorum=0.0)
        return evaluator.evaluate(federation.network.ask, weights, round, True).metrics

    def _federation(self, coalition: Coalition) -> Federation:
        """Return the federation in which only these parties train, as they were at the start."""
        resolved, num_rounds = self._resolved, len(self._main.history)
        model = resolved.model.clone()
        model.set_weights(self._main.network.initial_weights)
        parties = tuple(
            Party(party.id, party.train, party.test, trains=party.trains and party.id in coalition)
            for party in resolved.data.parties
        )
        # The run may have ended early, or have got more rounds and other options on its way.
        main = self._main
        update = {
            "rounds": num_rounds,
            "evaluate_every": num_rounds,
            "baseline": "",
            "schedule": str(main.config.schedule),
            "changes": change_text.to_text(main.plan.changes),
        }
        spec = resolved.spec.model_copy(update=update)
        fields = {name: getattr(resolved, name) for name in Resolved.__dataclass_fields__}
        fields |= {"spec": spec, "model": model, "data": replace(resolved.data, parties=parties)}
        # With none, only the first weights are evaluated; hostile rows are of no account then.
        hostile = tuple(party for party in resolved.hostile if party in coalition or not coalition)
        return assemble(CoalitionResolved(**fields, hostile_parties=hostile), self._control)
