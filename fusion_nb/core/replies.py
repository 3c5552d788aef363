"""A round's replies on their way to the fusion: what is sound passes, and count is kept of
everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fusion_nb.core import arithmetic
from fusion_nb.core.types import Failure, Metrics, PartyMetrics, Reply, Unchanged, Update, Weights
from fusion_nb.errors import DivergedError, FusionError, PartyError


class Answers:
    """Replies, read once: passes updates on, and keeps the metrics, the failures and the silent
    parties.

    An update that doesn't look like the weights that were sent, or holds NaN, is refused by name
    and becomes a failure.

    quorum: share of the cohort that must not fail
    like:   what weights must look like, or None where none are asked for;  part: some of the
            entries are enough
    """

    def __init__(
        self,
        replies: Iterator[Reply],
        quorum: float,
        cohort: Sequence[str],
        number: int,
        like: Weights | None = None,
        *,
        part: bool = False,
    ) -> None:
        self._replies = replies
        needed = max(1, round_half_up(quorum * len(cohort))) if quorum else 0
        self._allowed_failures = len(cohort) - needed
        self._cohort_size = len(cohort)
        self._round = number
        self._like, self._part = like, part
        self.metrics: dict[str, Mapping[str, float]] = {}
        self.failures: list[Failure] = []
        self.silent: dict[str, Unchanged] = {}
        self.bytes_up = 0
        self._sizes: dict[str, int] = {}

    def __iter__(self) -> Iterator[Update]:
        for reply in self._replies:
            if isinstance(reply, Update) and self._like is not None:
                self.bytes_up += arithmetic.num_bytes(reply.weights) + arithmetic.num_bytes(
                    reply.extras
                )
                problem = arithmetic.misfit(reply.weights, self._like, part=self._part)
                problem = problem or arithmetic.not_finite(reply.extras)
                reply = self._refuse(reply.party, problem) if problem else reply
            if isinstance(reply, Failure):
                # Kept without the exception, whose traceback would keep every array of the round
                # alive.
                self.failures.append(replace(reply, exception=None))
                self._raise_if_too_many(reply)
                continue
            self.metrics[reply.party] = {**self.metrics.get(reply.party, {}), **reply.metrics}
            self._sizes[reply.party] = reply.num_examples
            if isinstance(reply, Unchanged):
                self.silent[reply.party] = reply
                self.bytes_up += arithmetic.num_bytes(reply.extras)
            else:
                self.silent.pop(reply.party, None)
                yield reply

    def then(self, replies: Iterator[Reply]) -> Iterator[Update]:
        """Return the updates in further replies of the same round; they are asked for one by one,
        as they are read.
        """
        self.drain()
        self._replies = replies
        return iter(self)

    def drain(self) -> None:
        """Read the replies that a fusion left unread, so that every failure is known."""
        for _ in self:
            pass

    def mean(self, metric: str, sizes: Mapping[str, int] | None = None) -> float:
        """Return a metric's mean over the parties that have it, weighted by their rows, or by other
        sizes.
        """
        return weighted_mean(self.metrics, sizes or self._sizes, metric)

    def _refuse(self, party: str, problem: str) -> Failure:
        line = f"the update of {party} in round {self._round} is refused: {problem}"
        if "finite" in problem:
            error: PartyError = DivergedError(
                line,
                "use a smaller --lr; --quorum 0.8 lets rounds go on without a fifth of the parties",
            )
        else:
            error = PartyError(
                line, "a party must send back weights of the form in which it got them"
            )
        return Failure(party, error.message, "", error)

    def _raise_if_too_many(self, last: Failure) -> None:
        if len(self.failures) <= self._allowed_failures:
            return
        if last.exception is not None:
            what = (
                f"in round {self._round}; the last whole round is kept"
                if self._round
                else "before round 1"
            )
            note = f"(raised by {last.party} {what})"
            if isinstance(last.exception, FusionError) and not isinstance(
                last.exception, PartyError
            ):
                error = last.exception
                raise type(error)(f"{last.party}: {error.message}", error.hint) from error
            if not isinstance(last.exception, PartyError):
                last.exception.add_note(note)
            raise last.exception
        raise PartyError(
            f"{len(self.failures)} of {self._cohort_size} parties failed in round {self._round}; "
            f"{last.party}: {last.error}",
            "see run.failures for their tracebacks; --quorum 0.5 lets a round go on with half of "
            "its parties",
        )


def weighted_mean(metrics: PartyMetrics, sizes: Mapping[str, int], name: str) -> float:
    """Return the mean of a metric over the parties that have it, weighted by sizes; NaN where there
    is none.
    """
    having = [(sizes[party], found[name]) for party, found in metrics.items() if name in found]
    total = sum(size for size, _ in having)
    return sum(size * value for size, value in having) / total if total else float("nan")


def round_half_up(value: float) -> int:
    """Return the nearest whole number; a half goes up, where Python's round() would go to the even
    one.
    """
    return int(value + 0.5)


def merge(per_party: dict[str, Metrics], found: PartyMetrics) -> None:
    """Add what was found of each party to what there is."""
    for party, metrics in found.items():
        per_party.setdefault(party, {}).update(metrics)
