"""The loop: sample a cohort, ask it to train, aggregate its updates, evaluate, record.

It knows parties, an engine, a fusion and a model by their contracts in `protocols`, and no
framework at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fusion_nb.core import arithmetic
from fusion_nb.core.aggregation import Aggregated, aggregate
from fusion_nb.core.counts import LatestCounts, plain
from fusion_nb.core.evaluation import Evaluator, add_metrics, personal_means
from fusion_nb.core.history import History
from fusion_nb.core.network import Network
from fusion_nb.core.party import Party
from fusion_nb.core.post_training import PostTrainingStep, with_personal_metrics
from fusion_nb.core.protocols import (
    Baseline,
    Change,
    Engine,
    Fusion,
    Model,
    PostTraining,
)
from fusion_nb.core.real_time.choosing import pace_of
from fusion_nb.core.replies import RoundReplies
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.settings import ChangePlan, FederationConfig, RoundSettings
from fusion_nb.core.types import (
    Failure,
    LocalUpdate,
    Metrics,
    RoundRecord,
    RoundRequest,
    ServerState,
    Update,
    Weights,
)

__all__ = ["Federation", "FederationConfig"]


class Federation:
    """Parties, an aggregation rule and a model, and the rounds that they have trained.

    test:             the aggregator's own test set, or None
    baselines:        what is trained beside it for comparison
    post_training:    the step after the last round; without one, the fusion's own
    personal_parties: the parties that hold models of their own after it, where they are others
    changes:          by round, options that change from that round on
    control:          pauses and stops the run between two batches
    state, history, counts: of an earlier federation, which this one continues. Its parties must
                      have the persistent states of that time.

    `state` and `history` change together, and only when a round is whole. `state` is None before
    round 0 of a model that needs agreement. Its parts: the `network` of parties, engine and model,
    the `plan` of changes, and the step `post_training`.
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
        baselines: Sequence[Baseline] = (),
        post_training: PostTraining | None = None,
        personal_parties: Sequence[Party] = (),
        changes: Mapping[int, Change] | None = None,
        control: RunControl | None = None,
        state: ServerState | None = None,
        history: Sequence[RoundRecord] = (),
        counts: Mapping[str, Any] | None = None,
    ) -> None:
        self.config = config
        self.baselines = tuple(baselines)
        self.history = History(history)
        self.state = state
        #: The sums behind the parties' metrics, where the run added metrics to the model's own.
        self.counts = LatestCounts(counts)
        #: Failures in the last round, whether it became whole or not.
        self.round_failures: tuple[Failure, ...] = ()
        self._control = control or RunControl()
        self.network = Network(parties, model, engine, self._control)
        self.plan = ChangePlan(config, fusion, changes or {})
        self.pace = pace_of(config, self.network, self.plan, self.history, self._control)
        self.post_training = PostTrainingStep(post_training, personal_parties)
        self._evaluator = Evaluator(
            parties,
            model,
            test,
            quorum=config.quorum,
            num_rows=config.evaluate_rows,
            seed=config.seed,
        )
        # Early, so that a rule refuses what it can't aggregate before anything is trained.
        self._init_state()

    def rounds(self, num_rounds: int) -> Iterator[RoundRecord]:
        """Train that many more rounds, and yield the record of each as soon as it is whole.

        Raises PartyError, or a party's own exception, when too few parties answer; Stopped when
        a stop was asked for. State and history are then those of the last whole round.
        """
        last = len(self.history) + num_rounds
        try:
            while len(self.history) < last:
                yield self.train_round(is_last=len(self.history) + 1 == last)
        finally:
            self.pace.give_up()

    def finish(self) -> None:
        """Do the step after the last round, once, and add its metrics to the last record."""
        found = self.post_training.run(self, self.fusion)
        if found is None:
            return
        record = with_personal_metrics(self.history[-1], found)
        self.counts.update(record.party_metrics)
        means = personal_means(
            self.counts.over(self.history.latest()), record.party_metrics, self.parties, self.model
        )
        self.history[-1] = plain(replace(record, metrics={**record.metrics, **means}))

    def close(self) -> None:
        """Release the engine's workers. The next round starts them again."""
        for baseline in self.baselines:
            baseline.close()
        self.network.close()

    def cohort(self, round: int) -> tuple[str, ...]:
        """Return the parties that train in a round, in order; none in a round that passes.

        It is a function of the seed, the round, and the history before it.
        """
        if round <= len(self.history):
            cohort: tuple[str, ...] = self.history[round - 1].cohort
            return cohort
        return self.pace.cohort(round)

    def ask_parties(self, local_update: LocalUpdate, **broadcast: Any) -> list[Update]:
        """Let every party that trains do one more step outside of the rounds.

        The updates are returned. Parties that fail are left out, and are in
        `post_training.failures`.
        """
        self._prepare()
        # Round 0 never trains, so that its random streams are free, and parties take it for no
        # round that they had before.
        settings = self.plan.settings(len(self.history) + 1)
        request = self._request(0, settings, broadcast)
        asked = [party.id for party in self.parties if party.trains]
        replies = RoundReplies(
            self.network.ask(replace(request, local_update=local_update), asked),
            asked,
            round=0,
            quorum=0.0,
        )
        updates = list(replies)
        self.post_training.failures += tuple(replies.failures)
        return updates

    def train_round(self, is_last: bool) -> RoundRecord:
        """Train the next round, and return its record.

        State and history change at its end, together.
        """
        self._prepare()
        number = len(self.history) + 1
        self._control.gate()  # a change made while the run is held here belongs to this round
        change = self.plan.begin(number)
        settings = self.plan.settings(number)
        assert self.state is not None
        assert self.network.info is not None
        state = settings.first_state(number, self.state, self.network.info)
        started = self._control.clock()

        # 1. Sample the cohort, and ask it to train. Without any party, the weights stay.
        is_measured = is_last or number % self.config.evaluate_every == 0
        request = replace(
            self._request(number, settings, settings.fusion.broadcast(state.fusion_state)),
            is_measured=is_measured,
            num_test_rows=0 if is_last else self.config.evaluate_rows,
        )
        opened = self.pace.open(request, state)
        cohort, state = opened.cohort, opened.state
        replies = RoundReplies(
            opened.replies,
            cohort,
            round=number,
            quorum=self.config.quorum,
            check=lambda found: self.model.check_weights(
                found, state.weights, partial=settings.fusion.requires.partial_updates
            ),
        )

        # 2. Aggregate the updates as they come.
        try:
            aggregated = Aggregated(replace(state, round=number), 0)
            if cohort or settings.fusion.requires.empty_rounds:
                aggregated = aggregate(
                    settings.fusion,
                    state,
                    replies,
                    cohort,
                    request.broadcast,
                    model=self.model,
                    ask=self.network.ask,
                )
        finally:
            self.round_failures = tuple(replies.failures)

        # 3. Evaluate the fused model.
        metrics: Metrics = replies.train_loss(self.model) if cohort else {}
        if self.config.lr_schedule is not None:
            metrics["lr"] = settings.train_options["lr"]
        per_party = {party: dict(found) for party, found in replies.metrics.items()}
        failed = {failure.party: failure for failure in replies.failures}
        if is_last:
            self.pace.give_up()
        if is_measured:
            metrics |= self._evaluate(aggregated.state, is_last, per_party, failed)

        metrics |= settings.fusion.measure(aggregated.state.fusion_state)

        # 4. Record the round.
        timed, trips = self.pace.end(replies.sent, cohort, aggregated.bytes_down, number)
        model = self.model.single_model
        # Trees and statistics are nothing that fedavg could have averaged.
        is_averaged = model.weights_kind == "numbers"
        size = arithmetic.num_bytes(model.get_weights()) if is_averaged else 0
        record = RoundRecord(
            round=number,
            metrics=metrics | timed,
            party_metrics=per_party,
            cohort=cohort,
            seconds=self._control.clock() - started,
            bytes_up=replies.bytes_up,
            bytes_down=aggregated.bytes_down,
            failures=tuple(failed.values()),
            silent=tuple(replies.no_updates),
            bytes_fedavg=2 * size * len(cohort),
            changes=change.values,
            trips=trips,
        )
        self._control.gate()  # a stop asked for during evaluation keeps the previous round
        self.state = aggregated.state
        if self.model.added_metrics:
            self.counts.update(record.party_metrics)
            self.counts.note_errors(record.metrics)
            record = plain(record)
        self.history.append(record)
        return record

    def _prepare(self) -> None:
        """Start the engine, and do round 0 where the model needs it."""
        self.network.start()
        try:
            self.network.agree(keep_states=bool(self.history))
        except Exception:
            self.round_failures = self.network.failures
            raise
        self._init_state()

    def _init_state(self) -> None:
        """Make the state before round 1, where there is none and the first weights are known."""
        info, weights = self.network.info, self.network.initial_weights
        if self.state is None and info is not None:
            self.state = ServerState(0, weights, self.fusion.init(weights, info))

    def _request(
        self, round: int, settings: RoundSettings, broadcast: Mapping[str, Any]
    ) -> RoundRequest:
        """Return the request of a round, or of a step outside of the rounds (0)."""
        info = self.network.info
        assert info is not None
        has_schedule, schedule = self.model.has_lr_schedule, self.config.schedule
        return settings.request(
            round,
            self.weights,
            broadcast,
            info,
            seed=self.config.seed,
            progress=schedule.progress(round or len(self.history)) if has_schedule else None,
        )

    def _evaluate(
        self,
        state: ServerState,
        is_last: bool,
        per_party: dict[str, Metrics],
        failed: dict[str, Failure],
    ) -> Metrics:
        """Return the metrics of a round; add each party's to `per_party`, and failures to it."""
        found = self._evaluator.evaluate(
            self.network.ask, state.weights, state.round, is_last, busy=self.pace.busy
        )
        metrics = dict(found.metrics)
        add_metrics(per_party, found.party_metrics)
        for failure in found.failures:
            failed.setdefault(failure.party, failure)
        for baseline in self.baselines:
            compared, of_parties = baseline.measure(self, state.round, is_last)
            metrics |= compared
            add_metrics(per_party, of_parties)
        return metrics | personal_means(
            self.counts.over(self.history.latest()), per_party, self.parties, self.model
        )

    # The view of baselines and post-training steps: `FederationView`.

    @property
    def parties(self) -> Sequence[Party]:
        """The parties, in order."""
        return self.network.parties

    @property
    def model(self) -> Model:
        """The aggregator's model."""
        return self.network.model

    @property
    def weights(self) -> Weights:
        """The fused weights of the last whole round; empty before the first are known."""
        return self.state.weights if self.state else {}

    @property
    def fusion(self) -> Fusion:
        """The aggregation rule of the next round."""
        return self.plan.settings(len(self.history) + 1).fusion

    @property
    def train_options(self) -> Mapping[str, Any]:
        """The options of local training in the next round."""
        return self.plan.settings(len(self.history) + 1).train_options

    @property
    def client_options(self) -> Mapping[str, Any]:
        """Those that the fusion of the next round adds to them."""
        return self.fusion.client_options

    def changed_options(self, round: int) -> Mapping[str, Any]:
        """Return the options of the run that have another value from a round on."""
        return self.plan.changes.get(round, Change()).values
