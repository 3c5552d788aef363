"""The loop: who trains this round, what is asked of them, what is made of their answers.

It knows parties, an engine and a fusion by what they promise in `types`, and no framework at all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from fusion_nb import seeds
from fusion_nb import weights as arithmetic
from fusion_nb.answers import Answers, round_half_up
from fusion_nb.errors import DivergedError, OptionError, PartyError
from fusion_nb.history import History
from fusion_nb.schedule import Schedule
from fusion_nb.types import (
    Engine,
    Failure,
    Fusion,
    Metrics,
    Reply,
    RoundRecord,
    Synchronising,
    Turn,
    Update,
    Verb,
    Weights,
)

#: Rounds between two measurements of what is costly to measure.
_EXAMINE_EVERY = 5
#: The metrics of a model, and those of each party.
Measured = tuple[Metrics, Mapping[str, Mapping[str, float]]]


@dataclass
class Federation:
    """Parties, an aggregation rule and a model, and the rounds that they have behind them.

    `weights`, `state` and `history` change together, and only when a round is whole.

    orders:         what every party's `fit` is told: epochs, batch_size, lr, optimizer
    fraction:       share of the parties that train in a round, at least one
    quorum:         share of a round's cohort that must answer for the round to count
    test:           the aggregator's own test set, or None
    evaluate_every: rounds between two measurements of the fused model; the last round is always measured
    schedule:       how the learning rate falls, for models whose rate does
    beside:         what is trained round by round for comparison: `(round, is_last) -> metrics, party metrics`
    closing:        what follows the last round, and adds to each party's metrics of it
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
    schedule: Schedule = field(default_factory=Schedule)
    beside: Sequence[Callable[[int, bool], Measured]] = ()
    closing: Callable[[Federation], Mapping[str, Mapping[str, float]]] | None = None
    gate: Callable[[], None] = lambda: None
    clock: Callable[[], float] = time.perf_counter
    history: History = field(default_factory=History)
    weights: Weights = field(default_factory=dict)
    state: Any = None
    #: The weights before the first round.
    initial: Weights = field(default_factory=dict)
    #: Failures of the last round, whether it became whole or not.
    failed: tuple[Failure, ...] = ()
    _started: bool = False
    #: The weights that were measured last, and what came of it.
    _measured: tuple[Weights | None, Measured] = (None, ({}, {}))
    #: The round that was closed last.
    _closed: int = 0

    def __post_init__(self) -> None:
        if refused := set(self.fusion.local) - self.model.supports:
            raise OptionError(
                f"the fusion asks every party for {', '.join(sorted(refused))}, which a {self.model.kind} can't do",
                f"use another fusion, such as {self.model.defaults['fusion']}",
            )
        self.initial = self.weights or self.model.get_weights()

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
        self.initial = self.weights = self.model.get_weights()
        if hasattr(self.fusion, "meet"):
            self.fusion.meet(num_parties=len(self.parties), trained=self.model.trained_names(), model=self.model)
        self.state = self.fusion.init(self.weights)

    def _ask(self, verb: Verb, everyone: Sequence[str], **orders: Any) -> list[Update]:
        """Return all parties' answers in round 0. Raises what the first that fails raised, and keeps it in `failed`."""
        answers = Answers(self.engine.run(verb, everyone, **orders), 1.0, everyone, 0)
        try:
            return list(answers)
        finally:
            self.failed = tuple(answers.failures)

    def cohort(self, round: int) -> tuple[str, ...]:
        """Return the parties that train in a round, in party order: a function of seed and round alone."""
        ids = [party.id for party in self.parties]
        count = max(1, round_half_up(self.fraction * len(ids)))
        if count == len(ids):
            return tuple(ids)
        chosen = seeds.stream(self.seed, "cohort", round).choice(len(ids), count, replace=False)
        return tuple(ids[i] for i in sorted(chosen))

    def rounds(self, num_rounds: int) -> Iterator[RoundRecord]:
        """Run that many more rounds, and yield a record as soon as each is whole.

        Raises PartyError, or a party's own exception, when too few parties answer; Stopped when `gate` does.
        In either case weights, state and history are those of the last whole round.
        """
        self._start()
        last = len(self.history) + num_rounds
        while len(self.history) < last:
            yield self._step(is_last=len(self.history) + 1 == last)

    def conclude(self) -> None:
        """Do what follows the last round, once; the record of that round tells what came of it."""
        if self.closing is None or not self.history or self._closed == len(self.history):
            return
        self._start()
        self.failed = ()
        found = self.closing(self)
        last = self.history[-1]
        per_party = {party: {**last.party_metrics.get(party, {}), **metrics} for party, metrics in found.items()}
        failures = (*last.failures, *self.failed)
        self.history[-1] = replace(last, party_metrics={**last.party_metrics, **per_party}, failures=failures)
        self._closed = len(self.history)

    def ask(self, turn: Callable[[Turn], Reply], **received: Any) -> list[Update]:
        """Give every party one more turn, outside of any round, and return the answers of those that did not fail.

        received: what the aggregator sends along with the weights
        """
        everyone = [party.id for party in self.parties]
        # Round 0 never trains, so its random streams are free, and a party takes it for no round that it had before.
        orders = self._orders(0, received)
        answers = Answers(self.engine.run("fit", everyone, **orders, train=turn), 0.0, everyone, 0)
        found = list(answers)
        self.failed += tuple(answers.failures)
        return found

    def _step(self, is_last: bool) -> RoundRecord:
        started = self.clock()
        number = len(self.history) + 1
        cohort = self.cohort(number)
        is_measured = is_last or number % self.evaluate_every == 0
        received = self.fusion.send(self.state) if hasattr(self.fusion, "send") else {}
        answers = self._train(number, cohort, received, is_measured)
        try:
            weights, state, bytes_down = self._fuse(answers, number, cohort, received)
        finally:
            self.failed = tuple(answers.failures)
        metrics = {"train_loss": answers.mean("train_loss")}
        failed = {failure.party: failure for failure in answers.failures}
        per_party = {party: dict(found) for party, found in answers.metrics.items()}
        if is_measured:
            examine = bool(self.model.examined) and (is_last or number % _EXAMINE_EVERY == 0)
            metrics |= self._evaluate(weights, number, per_party, failed, examine)
            for other in self.beside:
                found, of_parties = other(number, is_last)
                metrics |= found
                _merge(per_party, of_parties)
            if not math.isfinite(metrics.get("loss", 0.0)):
                raise DivergedError(
                    f"the loss of the fused model became {metrics['loss']} in round {number}",
                    "use a smaller --lr, or look at run.parties for one whose rows are extreme",
                )
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
            bytes_fedavg=2 * arithmetic.num_bytes(self.weights) * len(cohort),
        )
        self.gate()  # a stop asked for during evaluation still finds the previous round
        self.weights, self.state = weights, state
        self.history.append(record)
        return record

    def _train(self, number: int, cohort: Sequence[str], received: Mapping[str, Any], is_measured: bool) -> Answers:
        train, part = getattr(self.fusion, "train", None), getattr(self.fusion, "sends_part", False)
        orders = self._orders(number, received)
        replies = self.engine.run("fit", cohort, **orders, train=train, is_measured=is_measured)
        return Answers(replies, self.quorum, cohort, number, like=self.weights, part=part)

    def _orders(self, number: int, received: Mapping[str, Any]) -> dict[str, Any]:
        local = self.orders | dict(self.fusion.local)
        if self.model.is_scheduled:
            local["progress"] = self.schedule.progress(number or len(self.history))
        return {"weights": self.weights, "received": received, "seed": self.seed, "round": number, "local": local}

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
            weights, state = self._checked(self.fusion.fuse(own, iter(answers), state), number)
            answers.drain()
            return weights, state, bytes_down
        rule = cast(Synchronising, self.fusion)
        # Parties hold the weights of the last synchronisation already; only at first they are given some.
        bytes_down = bytes_down if number == 1 else arithmetic.num_bytes(received) * len(cohort)
        answers.drain()
        asked, state = rule.asks(list(answers.silent.values()), state)
        updates = answers.then(self.engine.run("send", asked)) if asked else iter(())
        weights, state = self._checked(rule.fuse(own, updates, state), number)
        sent = [party for party in asked if party not in answers.silent]
        if sent:
            adopting = self.engine.run("adopt", sent, weights=rule.adopt(weights, state))
            Answers(adopting, 1.0, sent, number).drain()
        # What is returned as it was given was not changed: nothing was fused, and nothing needs to be measured again.
        return self.weights if weights is own else weights, state, bytes_down + size * len(sent)

    def _checked(self, fused: Any, number: int) -> tuple[Weights, Any]:
        if not (isinstance(fused, tuple) and len(fused) == 2):
            raise PartyError(f"the fusion's fuse() returned {type(fused).__name__}", "it returns (weights, state)")
        if problem := arithmetic.misfit(fused[0], self.weights):
            hint = "a fusion returns new weights: a dictionary with the names, shapes and dtypes of those it got"
            raise PartyError(f"the fusion returned unusable weights in round {number}: {problem}", hint)
        return fused

    def _evaluate(
        self, weights: Weights, number: int, per_party: dict[str, Metrics], failed: dict[str, Failure], examine: bool
    ) -> Metrics:
        """Return the fused model's metrics; add each party's to `per_party`, and who could not measure to `failed`."""
        if self._measured[0] is not weights or self.model.watched:
            self._measured = weights, self._measure(weights, number, failed, examine)
        metrics, of_parties = self._measured[1]
        _merge(per_party, of_parties)
        return metrics

    def _measure(self, weights: Weights, number: int, failed: dict[str, Failure], examine: bool) -> Measured:
        tested = [party.id for party in self.parties if party.num_test or self.model.watched]
        orders = {"weights": weights, "examine": examine and self.test is None}
        answers = Answers(self.engine.run("evaluate", tested, **orders), self.quorum, tested, number)
        answers.drain()
        for failure in answers.failures:
            failed.setdefault(failure.party, failure)
        trained = {party.id: party.num_examples for party in self.parties}
        found = {name: answers.mean(name, trained) for name in self.model.watched}
        if self.test is not None:
            self.model.set_weights(weights)
            found |= self.model.evaluate(self.test) | (self.model.examine(self.test) if examine else {})
        else:
            # Without any test row, what is watched on training rows is all there is.
            sizes = None if any(party.num_test for party in self.parties) else trained
            found = {name: answers.mean(name, sizes) for name in self.model.metrics if name not in found} | found
        unmeasured = {name for name in self.model.examined if math.isnan(found.get(name, math.nan))}
        return {name: value for name, value in found.items() if name not in unmeasured}, answers.metrics


def _merge(per_party: dict[str, Metrics], found: Mapping[str, Mapping[str, float]]) -> None:
    for party, metrics in found.items():
        per_party.setdefault(party, {}).update(metrics)
