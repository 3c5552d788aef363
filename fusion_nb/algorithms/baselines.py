"""Baselines that a federation is compared with: one model on all rows, and each party alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fusion_nb.algorithms.fusions.averaging import iter_avg
from fusion_nb.algorithms.fusions.local_only import LocalOnly
from fusion_nb.core import rows as rows_of
from fusion_nb.core.clock import steps
from fusion_nb.core.counts import known, over_rows
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import Baseline, Change, Engine, FederationView, Fusion, Model
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.settings import FederationConfig
from fusion_nb.core.snapshot import Snapshot
from fusion_nb.core.types import Metrics, PartyMetrics
from fusion_nb.errors import ContractError, OptionError, PartyError, nearest, option

NAMES = ("central", "local")


def parse(text: str) -> list[str]:
    """Return the names in text such as `central,local`. Raises OptionError for an unknown name."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in NAMES:
            raise OptionError(
                f"{option('baseline', text)} is not allowed",
                f"{nearest(name, NAMES)}give {','.join(NAMES)}",
                allowed=NAMES,
            )
    return names


class FederatedBaseline(Baseline):
    """A baseline that is a federation itself, trained in the rounds of the main one.

    A subclass passes its parties to this constructor, and calls `train_until` in `measure`. A
    failure of the baseline ends the baseline only, and becomes a note.

    model:   the main federation's, of which it trains a copy
    earlier: the persistent state of an earlier baseline, which this one continues, or None
    """

    def __init__(
        self,
        parties: Sequence[Party],
        model: Model,
        fusion: Fusion,
        engine: Engine,
        config: FederationConfig,
        *,
        test: Any = None,
        control: RunControl | None = None,
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        snapshot = _snapshot(earlier, parties)
        #: Its parties that train in a round, which follow from the cohort of the main federation.
        self._cohort: Sequence[str] = ()
        self.federation = Federation(
            parties,
            model.single_model.clone(),
            fusion,
            engine,
            replace(config, sampling=lambda context: self._cohort),
            test=test,
            control=control,
            changes=snapshot.changes_without_fusions(),
            state=snapshot.state,
            history=snapshot.history,
            counts=snapshot.counts,
        )
        self.notes: list[str] = list(earlier["notes"]) if earlier else []
        self._has_failed = bool(earlier and earlier["has_failed"])

    @property
    def persistent_state(self) -> dict[str, Any]:
        """All that it needs to go on later."""
        return {
            "federation": Snapshot.of(self.federation).to_tree(),
            "notes": list(self.notes),
            "has_failed": self._has_failed,
        }

    def close(self) -> None:
        """Release the workers."""
        self.federation.close()

    def train_until(self, main: FederationView, round: int, is_last: bool) -> bool:
        """Train the rounds up to this one that are still missing; return whether none has failed.

        There are several where the main federation did not evaluate, and so did not ask for them.
        """
        missing = range(len(self.federation.history) + 1, round + 1)
        try:
            for number in () if self._has_failed else missing:
                self.federation.plan.add(Change(self.changed_options(main, number)))
                self._cohort = self.cohort(main.cohort(number))
                self.federation.train_round(is_last=is_last and number == round)
        except (ContractError, PartyError) as error:
            self.notes = [f"warning: {self.name} ended before round {round}: {error.message}"]
            self._has_failed = True
        return not self._has_failed

    def changed_options(self, main: FederationView, round: int) -> dict[str, Any]:
        """Return the options that change in a round: those of `main`, except its fusion."""
        return dict(main.changed_options(round))

    def cohort(self, main: Sequence[str]) -> Sequence[str]:
        """Return its parties that train in a round, given those of the main federation."""
        return main


class Central(FederatedBaseline):
    """One model trained on all parties' rows together.

    It takes as many steps in a round as the cohort's parties take together.

    Evaluated on the same rows as the fused model, as `central_loss` and so on. For comparison only:
    in a federation no party has all rows.

    parties, model, config, test, control: those of the main federation
    earlier: the persistent state of an earlier one, which this one continues
    """

    name = "the baseline central"

    def __init__(
        self,
        parties: Sequence[Party],
        model: Model,
        engine: Engine,
        config: FederationConfig,
        *,
        test: Any = None,
        control: RunControl | None = None,
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        tests = [party.test for party in parties if party.num_test]
        self._counts_steps = "local_steps" in model.supported_options
        trained = [party.train for party in parties if party.trains]
        everyone = [Party("central", rows_of.concat(trained))]
        super().__init__(
            everyone,
            model,
            iter_avg(),
            engine,
            replace(config, quorum=1.0),
            test=test if test is not None or not tests else rows_of.concat(tests),
            control=control,
            earlier=earlier,
        )

    def measure(
        self, federation: FederationView, round: int, is_last: bool
    ) -> tuple[Metrics, PartyMetrics]:
        """Return the metrics of the model after a round, trained first where it is not yet."""
        if not self.train_until(federation, round, is_last):
            return {}, {}
        metrics = self.federation.history[round - 1].metrics
        names = federation.model.metrics
        return {f"central_{name}": value for name, value in metrics.items() if name in names}, {}

    def changed_options(self, main: FederationView, round: int) -> dict[str, Any]:
        """Return the changed options, and the steps that the cohort's parties take together."""
        changed = super().changed_options(main, round)
        if self._counts_steps:
            changed["steps"] = num_steps(main, main.cohort(round))
        return changed

    def cohort(self, main: Sequence[str]) -> Sequence[str]:
        """Return its only party, where any party of the main federation trains."""
        return ("central",) if main else ()


class Local(FederatedBaseline):
    """Each party alone, trained in as many rounds and for as long as in the federation.

    Evaluated on its own test rows as `alone_loss` and so on, and as their mean over all parties'
    test rows. A party without test rows is evaluated on the aggregator's. A party that fails alone
    is left out from then on.

    parties, model, config, test, control: those of the main federation
    earlier: the persistent state of an earlier one, which this one continues
    """

    name = "the baseline local"

    def __init__(
        self,
        parties: Sequence[Party],
        model: Model,
        engine: Engine,
        config: FederationConfig,
        *,
        test: Any = None,
        control: RunControl | None = None,
        earlier: Mapping[str, Any] | None = None,
    ) -> None:
        own = [
            Party(p.id, p.train, p.test if p.num_test else test, trains=p.trains, drift=p.drift)
            for p in parties
        ]
        super().__init__(
            own,
            model,
            LocalOnly(),
            engine,
            replace(config, quorum=0.0),
            control=control,
            earlier=earlier,
        )

    def measure(
        self, federation: FederationView, round: int, is_last: bool
    ) -> tuple[Metrics, PartyMetrics]:
        """Return the metrics of the models after a round, trained first where they are not yet."""
        if not self.train_until(federation, round, is_last):
            return {}, {}
        own = self.federation
        failed = {
            failure.party: failure.error for record in own.history for failure in record.failures
        }
        self.notes = [
            f"warning: {self.name} goes on without {party}: {error}"
            for party, error in failed.items()
        ]
        latest = own.counts.over(own.history.latest())
        per_party = {
            party.id: _alone_metrics(latest.get(party.id, {}))
            for party in own.parties
            if party.id not in failed
        }
        ignored = own.model.ignored_label
        sizes = {party.id: party.num_measured(ignored) for party in own.parties}
        names = sorted({name for metrics in per_party.values() for name in metrics})
        means = {
            name: over_rows(own.model, per_party, sizes, name.removeprefix("alone_"), "alone_")
            for name in names
        }
        return known(means), per_party


def num_steps(federation: FederationView, cohort: Collection[str]) -> int:
    """Return the batches that the cohort's parties train together in a round."""
    options, least = federation.train_options, federation.model.min_rows
    sizes = [party.num_at_once for party in federation.parties if party.id in cohort]
    return sum(steps.num_steps(size, options, least) for size in sizes)


def _snapshot(earlier: Mapping[str, Any] | None, parties: Sequence[Party]) -> Snapshot:
    """Return the snapshot in a baseline's state, and give the parties their states in it."""
    if earlier is None:
        return Snapshot()
    snapshot = Snapshot.from_tree(earlier["federation"])
    snapshot.give_states(parties)
    return snapshot


def _alone_metrics(metrics: Metrics) -> Metrics:
    return {
        f"alone_{name.removeprefix('local_')}": value
        for name, value in metrics.items()
        if name.startswith("local_")
    }
