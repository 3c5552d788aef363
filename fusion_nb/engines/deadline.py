"""Updates that come too late, around any engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from fusion_nb.core.clock.virtual_clock import VirtualClock
from fusion_nb.core.protocols import Engine, EngineWrapper
from fusion_nb.core.types import Failure, Reply, Request, RoundRequest


class DeadlineEngine(EngineWrapper):
    """Lets parties fail in a round whose updates would come too late on the simulated clock.

    They are not asked, since their work would count for nothing. Where partial work is of use, they
    train as many batches as fit before the deadline, as in Stripelis, Thompson, Ambite,
    "Semi-Synchronous Federated Learning for Energy-Efficient Training and Accelerated Convergence
    in Cross-Silo Settings", ACM TIST 2022.
    min_updates:       updates that a round waits for in any case
    uses_partial_work: whether fewer batches are of use
    """

    def __init__(
        self,
        inner: Engine,
        clock: VirtualClock,
        *,
        min_updates: int = 1,
        uses_partial_work: bool = False,
    ) -> None:
        super().__init__(inner)
        self._clock, self._min_updates = clock, min_updates
        self._uses_partial_work = uses_partial_work

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort; in a round, those that are late fail."""
        if not isinstance(request, RoundRequest) or not request.round:
            return super().run(request, cohort)
        if self._uses_partial_work:
            fewer = {party: {"steps": count} for party, count in self._clock.shorten().items()}
            request = replace(request, party_options={**request.party_options, **fewer})
        late = self._clock.late(cohort, self._min_updates)
        asked = [party for party in cohort if party not in late]
        return self._merged(super().run(request, asked), cohort, late)

    @staticmethod
    def _merged(
        replies: Iterator[Reply], cohort: Sequence[str], late: dict[str, str]
    ) -> Iterator[Reply]:
        for party in cohort:
            yield Failure(party, late[party]) if party in late else next(replies)
