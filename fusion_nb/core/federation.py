"""The loop: who trains this round, what is asked of them, what is made of their answers.

It knows parties, an engine and a fusion by what they promise in `types`, and no framework at all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from fusion_nb.core import arithmetic, seeds
from fusion_nb.core.evaluation import Measurer
from fusion_nb.core.history import History
from fusion_nb.core.replies import Answers, merge, round_half_up, weighted_mean
from fusion_nb.core.schedule import Schedule
from fusion_nb.core.types import (
    Change,
    Engine,
    Failure,
    Fusion,
    Metrics,
    PartyMetrics,
    Reply,
    RoundRecord,
    Synchronising,
    Turn,
    Update,
    Verb,
    Weights,
)
from fusion_nb.errors import PartyError


@dataclass
class Federation:
    """Parties, an aggregation rule and a model, and the rounds that they have behind them.

    `weights`, `state` and `history` change together, and only when a round is whole.

    orders:         what every party's `fit` is told: epochs, batch_size, lr, optimizer
    fraction:       share of the parties that train in a round, at least one
    quorum:         share of a round's cohort that must answer for the round to count
    test:           the aggregator's own test set, or None
    evaluate_every: rounds between two measurements of the fused model; the last round is always
    measured
    evaluate_rows:  test rows that a measurement takes of a test set at the most, or 0; in the last
                    round it takes all
    schedule:       how the learning rate falls, for models whose rate does
    beside:         what is trained round by round for comparison: `(round, is_last) -> metrics,
                    party metrics`
    closing:        what follows the last round, and adds to each party's metrics of it
    owners:         the parties that then hold models of their own, where they are others than
                    `parties`
    changes:        round -> what is other from that round on;  pending: what will be from the next
                    that begins
    """

    parties: Sequence[Any]
    model: Any
    fusion: Fusion
    engine: Engine
    orders: dict[str, Any]
    seed: int = 0
    fraction: float = 1.0
    quorum: float = 1.0
    test: Any = None
    evaluate_every: int = 1
    evaluate_rows: int = 0
    schedule: Schedule = field(default_factory=Schedule)
    beside: Sequence[Callable[[int, bool], tuple[Metrics, PartyMetrics]]] = ()
    closing: Callable[[Federation], PartyMetrics] | None = None
    owners: Sequence[Any] = ()
    changes: dict[int, Change] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)
    gate: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.perf_counter
    history: History = field(default_factory=History)
    weights: Weights = field(default_factory=dict)
    state: Any = None
    #: The weights before the first round.
    initial: Weights = field(default_factory=dict)
    #: Failures of the last round, whether it became whole or not; and those after it.
    failed: tuple[Failure, ...] = ()
    failed_at_close: tuple[Failure, ...] = ()
    _started: bool = False
    #: The round that was closed last, and the first of the fusion that holds now.
    _closed: int = 0
    _since: int = 0

    def __post_init__(self) -> None:
        self.initial = self.weights or self.model.get_weights()
        self._measure = Measurer(self.parties, self.model, self.test, self.evaluate_rows, self.seed)
        if not hasattr(self.model, "agree"):
            self._meet()

    def close(self) -> None:
        """Let the engine's workers go. The next round starts them again."""
        for other in self.beside:
            getattr(other, "close", lambda: None)()
        if self._started:
            self.engine.close()
            self._started = False

    def _start(self) -> None:
        if not self._started:
            self.model.gate = self.gate
            self.engine.start(self.parties, self.model, self.gate)
            self._started = True
        if not self.weights:
            self._agree()

    def _agree(self) -> None:
        """Bring all parties to the same model before round 1 (round 0)."""
        if hasattr(self.model, "agree"):
            everyone = [party.id for party in self.parties]
            # Everybody must answer: who is away now could take no part in any round.
            collected = self._ask("collect", everyone)
            self._ask("prepare", everyone, agreed=self.model.agree(collected))
            self._meet()
        self.initial = self.weights = self.model.get_weights()
        self.state = self.fusion.init(self.weights)

    def _meet(self) -> None:
        if hasattr(self.fusion, "meet"):
            self.fusion.meet(
                num_parties=len(self.parties), trained=self.model.trained_names(), model=self.model
            )

    def _ask(self, verb: Verb, everyone: Sequence[str], **orders: Any) -> list[Update]:
        """Return all parties' answers in round 0. Raises what the first that fails raised, and
        keeps it in `failed`.
        """
        answers = Answers(self.engine.run(verb, everyone, **orders), 1.0, everyone, 0)
        try:
            return list(answers)
        finally:
            self.failed = tuple(answers.failures)

    def cohort(self, round: int) -> tuple[str, ...]:
        """Return the parties that train in a round, in party order: a function of seed and round
        alone.
        """
        count = max(1, round_half_up(self.fraction * len(self.parties)))
        chosen = seeds.some(self.seed, len(self.parties), count, "cohort", round)
        return tuple(self.parties[i].id for i in chosen)

    def rounds(self, num_rounds: int) -> Iterator[RoundRecord]:
        """Run that many more rounds, and yield a record as soon as each is whole.

        Raises PartyError, or a party's own exception, when too few parties answer; Stopped when
        `gate` does. In either case weights, state and history are those of the last whole round.
        """
        self._start()
        last = len(self.history) + num_rounds
        while len(self.history) < last:
            yield self._step(is_last=len(self.history) + 1 == last)

    def keep_up(self, round: int, is_last: bool) -> RoundRecord:
        """Return the record of a round, which is run first if it is the next."""
        if len(self.history) < round:
            self._start()
            self._step(is_last)
        return self.history[round - 1]

    def conclude(self) -> None:
        """Do what follows the last round, once; the record of that round tells what came of it."""
        if self.closing is None or not self.history or self._closed == len(self.history):
            return
        self._start()
        self.failed_at_close = ()
        found = self.closing(self)
        last = self.history[-1]
        per_party = {party: dict(metrics) for party, metrics in last.party_metrics.items()}
        for (
            party,
            metrics,
        ) in found.items():  # what else a turn measures is of a training that no round had
            own = {name: value for name, value in metrics.items() if name.startswith("personal_")}
            per_party.setdefault(party, {}).update(own)
        metrics = {**last.metrics, **self._of_own_models(per_party)}
        self.history[-1] = replace(last, metrics=metrics, party_metrics=per_party)
        self._closed = len(self.history)

    def ask(self, turn: Callable[[Turn], Reply], **received: Any) -> list[Update]:
        """Give every party one more turn, outside of any round, and return the answers of those
        that did not fail.

        received: what the aggregator sends along with the weights
        """
        everyone = [party.id for party in self.parties]
        # Round 0 never trains, so its random streams are free, and a party takes it for no round
        # that it had before.
        orders = self._orders(0, received)
        answers = Answers(self.engine.run("fit", everyone, **orders, train=turn), 0.0, everyone, 0)
        found = list(answers)
        self.failed_at_close += tuple(answers.failures)
        return found

    def _begin(self, number: int) -> Change:
        """Make what is other from this round on so; a round that is tried again finds it so
        already.
        """
        self.gate()  # what is changed while a run is held between two rounds belongs to the next
        while self.pending:
            self.changes[number] = self.changes.get(number, Change()).then(self.pending.pop(0))
        change = self.changes.get(number, Change())
        self.fraction = change.values.get("fraction", self.fraction)
        self.orders = {name: change.values.get(name, value) for name, value in self.orders.items()}
        if change.fusion and change.fusion is not self.fusion:
            self.fusion, self._since = change.fusion, number
            self._meet()
            self.state = self.fusion.init(self.weights)
        return change

    def _step(self, is_last: bool) -> RoundRecord:
        number = len(self.history) + 1
        change = self._begin(number)
        started = self.clock()
        cohort = self.cohort(number)
        is_measured = is_last or number % self.evaluate_every == 0
        received = self.fusion.send(self.state) if hasattr(self.fusion, "send") else {}
        rows = 0 if is_last else self.evaluate_rows
        answers = self._train(number, cohort, received, is_measured=is_measured, rows=rows)
        try:
            weights, state, bytes_down = self._fuse(answers, number, cohort, received)
        finally:
            self.failed = tuple(answers.failures)
        metrics = {"train_loss": answers.mean("train_loss")}
        failed = {failure.party: failure for failure in answers.failures}
        per_party = {party: dict(found) for party, found in answers.metrics.items()}
        if is_measured:
            metrics |= self._evaluate(weights, number, is_last, per_party, failed)
        record = RoundRecord(
            round=number,
            metrics=metrics,
            party_metrics=per_party,
            cohort=cohort,
            seconds=self.clock() - started,
            bytes_up=answers.bytes_up,
            bytes_down=bytes_down,
            failures=tuple(failed.values()),
            silent=tuple(answers.silent),
            bytes_fedavg=2 * arithmetic.num_bytes(self.model.single.get_weights()) * len(cohort),
            changes=change.values,
        )
        self.gate()  # a stop asked for during evaluation still finds the previous round
        self.weights, self.state = weights, state
        self.history.append(record)
        return record

    def _of_own_models(self, per_party: PartyMetrics) -> Metrics:
        """Return the means of what parties' own models reach, each as measured last, over all
        parties' test rows.
        """
        latest = self.history.latest()
        merge(latest, per_party)
        names = [f"personal_{name}" for name in self.model.metrics]
        sizes = {party.id: party.num_test for party in self.parties}
        return {
            name: mean
            for name in names
            if math.isfinite(mean := weighted_mean(latest, sizes, name))
        }

    def _train(
        self, number: int, cohort: Sequence[str], received: Mapping[str, Any], **measuring: Any
    ) -> Answers:
        train, part = getattr(self.fusion, "train", None), getattr(self.fusion, "sends_part", False)
        orders = self._orders(number, received)
        replies = self.engine.run(
            "fit", cohort, **orders, **measuring, train=train, since=self._since
        )
        return Answers(replies, self.quorum, cohort, number, like=self.weights, part=part)

    def _orders(self, number: int, received: Mapping[str, Any]) -> dict[str, Any]:
        local = self.orders | dict(self.fusion.local)
        if self.model.is_scheduled:
            local["progress"] = self.schedule.progress(number or len(self.history))
        return {
            "weights": self.weights,
            "received": received,
            "seed": self.seed,
            "round": number,
            "local": local,
        }

    def _fuse(
        self, answers: Answers, number: int, cohort: Sequence[str], received: Mapping[str, Any]
    ) -> tuple[Weights, Any, int]:
        """Return the new weights and state, and the bytes that went down to the parties."""
        state, down = self.state, getattr(self.fusion, "down", None)
        size = arithmetic.num_bytes(down(self.weights) if down else self.weights)
        bytes_down = (size + arithmetic.num_bytes(received)) * len(cohort)
        # A copy: a rule that writes into what it is given must not change the last whole round.
        own = arithmetic.copy(self.weights)
        if not hasattr(self.fusion, "asks"):
            weights, state = _checked(
                self.fusion.fuse(own, iter(answers), state), self.weights, number
            )
            answers.drain()
            return self._unless_same(weights, own), state, bytes_down
        rule = cast(Synchronising, self.fusion)
        # Parties hold the weights of the last synchronisation already; only at first they are given
        # some.
        bytes_down = bytes_down if number == 1 else arithmetic.num_bytes(received) * len(cohort)
        answers.drain()
        asked, state = rule.asks(list(answers.silent.values()), state)
        updates = answers.then(self.engine.run("send", asked)) if asked else iter(())
        weights, state = _checked(rule.fuse(own, updates, state), self.weights, number)
        sent = [party for party in asked if party not in answers.silent]
        if sent:
            adopting = self.engine.run("adopt", sent, weights=rule.adopt(weights, state))
            Answers(adopting, 1.0, sent, number).drain()
        return self._unless_same(weights, own), state, bytes_down + size * len(sent)

    def _unless_same(self, weights: Weights, own: Weights) -> Weights:
        # What is returned as it was given was not changed: nothing was fused, and nothing needs to
        # be measured again.
        return self.weights if weights is own else weights

    def _evaluate(
        self,
        weights: Weights,
        number: int,
        is_last: bool,
        per_party: dict[str, Metrics],
        failed: dict[str, Failure],
    ) -> Metrics:
        """Return the metrics of a round; add each party's to `per_party`, and who could not measure
        to `failed`.
        """
        answers = self._measure(self.engine, weights, number, self.quorum, is_last)
        metrics = dict(answers.metrics)
        merge(per_party, answers.of_parties)
        for failure in answers.failures:
            failed.setdefault(failure.party, failure)
        for other in self.beside:
            found, of_parties = other(number, is_last)
            metrics |= found
            merge(per_party, of_parties)
        return metrics | self._of_own_models(per_party)


def _checked(fused: Any, like: Weights, number: int) -> tuple[Weights, Any]:
    """Return what a fusion's `fuse` returned in a round; raise PartyError where it is no (weights,
    state).
    """
    if not (isinstance(fused, tuple) and len(fused) == 2):
        raise PartyError(
            f"the fusion's fuse() returned {type(fused).__name__}", "it returns (weights, state)"
        )
    if problem := arithmetic.misfit(fused[0], like):
        hint = (
            "a fusion returns new weights: a dictionary with the names, shapes and dtypes of "
            "those it got"
        )
        raise PartyError(f"the fusion returned unusable weights in round {number}: {problem}", hint)
    return fused
