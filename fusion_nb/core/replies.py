"""The replies of a round on their way to the fusion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from fusion_nb.core import arithmetic
from fusion_nb.core.counts import over_rows
from fusion_nb.core.protocols import TrainableModel
from fusion_nb.core.types import (
    Failure,
    Metrics,
    NoUpdate,
    Reply,
    Request,
    RoundRequest,
    Update,
    Weights,
)
from fusion_nb.errors import ContractError, DivergedError, FusionError, PartyError, option


class ReadOnce(Iterator[Update]):
    """Updates that are read once: a second reading is an error, where it would find nothing.

    >>> updates = ReadOnce(iter([Update("party 1", {}, 10)]))
    >>> [update.party for update in updates]
    ['party 1']
    >>> try:
    ...     list(updates)
    ... except ContractError as error:
    ...     print(error)
    the updates were read before, and can be read once
      keep them first: updates = list(updates)
    """

    def __init__(self, updates: Iterator[Update]) -> None:
        self._updates, self._was_read = updates, False

    def __iter__(self) -> ReadOnce:
        if self._was_read:
            raise ContractError(
                "the updates were read before, and can be read once",
                "keep them first: updates = list(updates)",
            )
        return self

    def __next__(self) -> Update:
        try:
            return next(self._updates)
        except StopIteration:
            self._was_read = True
            raise


def in_cohort_order(
    replies: Iterable[Reply], cohort: Sequence[str], request: Request
) -> Iterator[Reply]:
    """Yield an engine's replies, which must be one for each party of the cohort, in its order.

    Raises ContractError at the first that is not.
    """
    when = f" in round {request.round}" if isinstance(request, RoundRequest) else ""
    hint = "yield one reply for each party of the cohort, in its order"
    seen: list[str] = []
    if not isinstance(replies, Iterable):
        raise ContractError(
            f"the engine's run() returned {type(replies).__name__}, not replies", hint
        )
    for reply in replies:
        if not isinstance(reply, Update | NoUpdate | Failure):
            raise ContractError(
                f"the engine's run() yielded {type(reply).__name__}, not a reply",
                "yield what party.answer(request, model) returns",
            )
        if len(seen) == len(cohort) or reply.party != cohort[len(seen)]:
            raise ContractError(f"the engine {_disorder(reply.party, seen, cohort)}{when}", hint)
        seen.append(reply.party)
        yield reply
    if len(seen) < len(cohort):
        raise ContractError(f"the engine did not answer for {cohort[len(seen)]}{when}", hint)


def _disorder(party: str, seen: Sequence[str], cohort: Sequence[str]) -> str:
    """Return what is wrong with a reply that is not the next one."""
    if party in seen:
        return f"answered twice for {party}"
    if party not in cohort:
        return f"answered for {party}, which was not asked,"
    return f"answered for {party} before {cohort[len(seen)]}"


class RoundReplies:
    """Replies that are read once: updates pass, metrics and failures are counted.

    An update whose weights are refused by `check`, or whose extras hold NaN, becomes a failure.

    round:  for messages; 0 for a step outside of the rounds
    quorum: share of the cohort that must not fail
    check:  returns what is wrong with an update's weights, or ""; None where no weights are asked
            for

    `metrics` (by party), `failures`, `no_updates` (by party), `bytes_up` and `sent` (the bytes of
    each party that did not fail) grow while it is read.
    """

    def __init__(
        self,
        replies: Iterator[Reply],
        cohort: Sequence[str],
        *,
        round: int,
        quorum: float,
        check: Callable[[Weights], str] | None = None,
    ) -> None:
        self._replies, self._cohort_size = replies, len(cohort)
        needed = max(1, arithmetic.round_half_up(quorum * len(cohort))) if quorum else 0
        self._allowed_failures = len(cohort) - needed
        self._round, self._check = round, check
        self._num_examples: dict[str, int] = {}
        self.metrics: dict[str, Metrics] = {}
        self.failures: list[Failure] = []
        self.no_updates: dict[str, NoUpdate] = {}
        self.bytes_up = 0
        self.sent: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Update]:
        for reply in self._replies:
            before = self.bytes_up
            checked = self._checked(reply)
            if isinstance(checked, Failure):
                # Kept without the exception, whose traceback would keep every array of the round
                # alive.
                self.failures.append(replace(checked, exception=None))
                self._raise_if_too_many(checked)
                continue
            self.metrics[checked.party] = {**self.metrics.get(checked.party, {}), **checked.metrics}
            self._num_examples[checked.party] = checked.num_examples
            if isinstance(checked, NoUpdate):
                self.no_updates[checked.party] = checked
                self.bytes_up += arithmetic.num_bytes(checked.extras)
            else:
                self.no_updates.pop(checked.party, None)
            self.sent[checked.party] += self.bytes_up - before
            if isinstance(checked, Update):
                yield checked

    def continue_with(self, replies: Iterator[Reply]) -> Iterator[Update]:
        """Return the updates in further replies of the same round, read one by one."""
        self.drain()
        self._replies = replies
        return iter(self)

    def drain(self) -> None:
        """Read the replies that a fusion left unread, so that every failure is known."""
        for _ in self:
            pass

    def mean(self, metric: str, sizes: Mapping[str, int] | None = None) -> float:
        """Return a metric's mean over the parties that have it.

        sizes: by party, in place of the number of rows that each replied with
        """
        return arithmetic.metric_mean(self.metrics, sizes or self._num_examples, metric)

    def train_loss(self, model: TrainableModel) -> Metrics:
        """Return the cohort's mean `train_loss`; nothing where no answer tells one, or where the
        model is measured otherwise.
        """
        has_any = any("train_loss" in found for found in self.metrics.values())
        is_expected = not self.metrics and "loss" in model.metrics
        return {"train_loss": self.mean("train_loss")} if has_any or is_expected else {}

    def over_rows(
        self, model: TrainableModel, metric: str, sizes: Mapping[str, int] | None = None
    ) -> float:
        """Return a metric over the rows of all parties that have it; `sizes` as in `mean`."""
        return over_rows(model, self.metrics, sizes or self._num_examples, metric)

    def _checked(self, reply: Reply) -> Reply:
        """Return a reply, or the failure that an unusable update becomes."""
        if not isinstance(reply, Update) or self._check is None:
            return reply
        self.bytes_up += arithmetic.num_bytes(reply.weights) + arithmetic.num_bytes(reply.extras)
        not_finite = arithmetic.not_finite(reply.extras)
        problem = self._check(reply.weights) or not_finite
        if not problem:
            return reply
        line = f"the update of {reply.party} in round {self._round} is refused: {problem}"
        is_named = isinstance(reply.weights, dict)
        if not_finite or (is_named and arithmetic.not_finite(reply.weights)):
            error: PartyError = DivergedError(
                line,
                f"use a smaller {option('lr')}; {option('quorum', 0.8)} lets rounds go on without "
                "a fifth of the parties",
            )
        else:
            error = PartyError(
                line, "a party must send back weights of the form in which it got them"
            )
        return Failure(reply.party, error.message, "", error)

    def _raise_if_too_many(self, last: Failure) -> None:
        if len(self.failures) <= self._allowed_failures:
            return
        if last.exception is not None:
            raise self._own_error(last.party, last.exception)
        raise PartyError(
            f"{len(self.failures)} of {self._cohort_size} parties failed in round {self._round}; "
            f"{last.party}: {last.error}",
            f"see run.failures for their tracebacks; {option('quorum', 0.5)} lets a round go on "
            "with half of its parties",
        )

    def _own_error(self, party: str, error: BaseException) -> BaseException:
        """Return a party's own exception, which says where it was raised."""
        if isinstance(error, PartyError):
            return error
        if isinstance(error, FusionError):
            named = error.prefixed(f"{party}: ")
            named.__cause__ = error
            return named
        when = (
            f"in round {self._round}; the last whole round is kept"
            if self._round
            else "before round 1"
        )
        error.add_note(f"(raised by {party} {when})")
        return error
