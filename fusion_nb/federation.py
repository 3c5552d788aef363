"""The loop: who trains this round, what is asked of them, what is made of their answers.

It knows parties, an engine and a fusion by what they promise in `types`, and no framework at all.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fusion_nb import seeds
from fusion_nb import weights as arithmetic
from fusion_nb.errors import DivergedError, FusionError, OptionError, PartyError
from fusion_nb.history import History
from fusion_nb.schedule import Schedule
from fusion_nb.types import Engine, Failure, Fusion, Metrics, Reply, RoundRecord, Unchanged, Update, Verb, Weights

#: Rounds between two measurements of what is costly to measure.
_EXAMINE_EVERY = 5


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

    def __post_init__(self) -> None:
        if refused := set(self.fusion.local) - self.model.supports:
            raise OptionError(
                f"the fusion asks every party for {', '.join(sorted(refused))}, which a {self.model.kind} can't do",
                f"use another fusion, such as {self.model.defaults['fusion']}",
            )
        self.initial = self.weights or self.model.get_weights()

    def close(self) -> None:
        """Let the engine's workers go. The next round starts them again."""
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
        self.state = self.fusion.init(self.weights)

    def _ask(self, verb: Verb, everyone: Sequence[str], **orders: Any) -> list[Update]:
        """Return all parties' answers in round 0. Raises what the first that fails raised, and keeps it in `failed`."""
        answers = _Answers(self.engine.run(verb, everyone, **orders), 1.0, everyone, 0)
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

    def _step(self, is_last: bool) -> RoundRecord:
        started = self.clock()
        number = len(self.history) + 1
        cohort = self.cohort(number)
        local = self.orders | dict(self.fusion.local)
        if self.model.is_scheduled:
            local["progress"] = self.schedule.progress(number)
        replies = self.engine.run("fit", cohort, weights=self.weights, seed=self.seed, round=number, local=local)
        answers = _Answers(replies, self.quorum, cohort, number, like=self.weights)
        try:
            # A copy: a rule that writes into what it is given must not change the last whole round.
            fused = self.fusion.fuse(arithmetic.copy(self.weights), iter(answers), self.state)
            answers.drain()
        finally:
            self.failed = tuple(answers.failures)
        if not (isinstance(fused, tuple) and len(fused) == 2):
            raise PartyError(f"the fusion's fuse() returned {type(fused).__name__}", "it returns (weights, state)")
        weights, state = fused
        if problem := arithmetic.misfit(weights, self.weights):
            hint = "a fusion returns new weights: a dictionary with the names, shapes and dtypes of those it got"
            raise PartyError(f"the fusion returned unusable weights in round {number}: {problem}", hint)
        metrics = {"train_loss": answers.mean("train_loss")}
        failed = {failure.party: failure for failure in answers.failures}
        per_party = {party: dict(found) for party, found in answers.metrics.items()}
        if is_last or number % self.evaluate_every == 0:
            examine = bool(self.model.examined) and (is_last or number % _EXAMINE_EVERY == 0)
            metrics |= self._evaluate(weights, number, per_party, failed, examine)
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
            bytes_down=arithmetic.num_bytes(self.weights) * len(cohort),
            failures=tuple(failed.values()),
        )
        self.gate()  # a stop asked for during evaluation still finds the previous round
        self.weights, self.state = weights, state
        self.history.append(record)
        return record

    def _evaluate(
        self, weights: Weights, number: int, per_party: dict[str, Metrics], failed: dict[str, Failure], examine: bool
    ) -> Metrics:
        """Return the fused model's metrics; add each party's to `per_party`, and who could not measure to `failed`."""
        tested = [party.id for party in self.parties if party.num_test or self.model.watched]
        orders = {"weights": weights, "examine": examine and self.test is None}
        answers = _Answers(self.engine.run("evaluate", tested, **orders), self.quorum, tested, number)
        answers.drain()
        for failure in answers.failures:
            failed.setdefault(failure.party, failure)
        for party, metrics in answers.metrics.items():
            per_party.setdefault(party, {}).update(metrics)
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
        return {name: value for name, value in found.items() if name not in unmeasured}


class _Answers:
    """A round's replies, read once: passes updates on, and keeps count of everything else.

    An update that doesn't look like the broadcast weights, or holds NaN, is refused by name and becomes a failure.
    """

    def __init__(
        self, replies: Iterator[Reply], quorum: float, cohort: Sequence[str], number: int, like: Weights | None = None
    ) -> None:
        self._replies = replies
        self._allowed_failures = len(cohort) - max(1, round_half_up(quorum * len(cohort)))
        self._cohort_size = len(cohort)
        self._round = number
        self._like = like
        self.metrics: dict[str, Mapping[str, float]] = {}
        self.failures: list[Failure] = []
        self.bytes_up = 0
        self._sizes: dict[str, int] = {}

    def __iter__(self) -> Iterator[Update]:
        for reply in self._replies:
            if isinstance(reply, Update) and self._like is not None:
                self.bytes_up += arithmetic.num_bytes(reply.weights)
                if problem := arithmetic.misfit(reply.weights, self._like):
                    reply = self._refuse(reply.party, problem)
            if isinstance(reply, Failure):
                # Kept without the exception, whose traceback would keep every array of the round alive.
                self.failures.append(replace(reply, exception=None))
                self._raise_if_too_many(reply)
                continue
            self.metrics[reply.party] = reply.metrics
            self._sizes[reply.party] = reply.num_examples
            if not isinstance(reply, Unchanged):
                yield reply

    def drain(self) -> None:
        """Read the replies that a fusion left unread, so that every failure is known."""
        for _ in self:
            pass

    def mean(self, metric: str, sizes: Mapping[str, int] | None = None) -> float:
        """Return a metric's mean over the parties that have it, weighted by their rows, or by other sizes."""
        sizes = sizes or self._sizes
        having = [(sizes[party], found[metric]) for party, found in self.metrics.items() if metric in found]
        total = sum(size for size, _ in having)
        return sum(size * value for size, value in having) / total if total else float("nan")

    def _refuse(self, party: str, problem: str) -> Failure:
        line = f"the update of {party} in round {self._round} is refused: {problem}"
        if "finite" in problem:
            error: PartyError = DivergedError(
                line, "use a smaller --lr; --quorum 0.8 lets rounds go on without a fifth of the parties"
            )
        else:
            error = PartyError(line, "a party must send back weights of the form in which it got them")
        return Failure(party, error.message, "", error)

    def _raise_if_too_many(self, last: Failure) -> None:
        if len(self.failures) <= self._allowed_failures:
            return
        if last.exception is not None:
            what = f"in round {self._round}; the last whole round is kept" if self._round else "before round 1"
            note = f"(raised by {last.party} {what})"
            if isinstance(last.exception, FusionError) and not isinstance(last.exception, PartyError):
                error = last.exception
                raise type(error)(f"{last.party}: {error.message}", error.hint) from error
            if not isinstance(last.exception, PartyError):
                last.exception.add_note(note)
            raise last.exception
        raise PartyError(
            f"{len(self.failures)} of {self._cohort_size} parties failed in round {self._round}; "
            f"{last.party}: {last.error}",
            "see run.failures for their tracebacks; --quorum 0.5 lets a round go on with half of its parties",
        )


def round_half_up(value: float) -> int:
    """Return the nearest whole number; a half goes up, where Python's round() would go to the even one."""
    return int(value + 0.5)
