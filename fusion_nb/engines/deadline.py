"""Updates that come too late, around any engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fusion_nb.core.clock.virtual_clock import VirtualClock
from fusion_nb.core.protocols import Engine, EngineWrapper
from fusion_nb.core.types import Failure, Reply, Request, RoundRequest


class DeadlineEngine(EngineWrapper):
    """Lets parties fail in a round whose updates would come too late on the simulated clock.

    They are not asked, since their work would count for nothing.
    min_updates: updates that a round waits for in any case
    """

    def __init__(self, inner: Engine, clock: VirtualClock, *, min_updates: int = 1) -> None:
        super().__init__(inner)
        self._clock, self._min_updates = clock, min_updates

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort; in a round, those that are late fail."""
        if not isinstance(request, RoundRequest) or not request.round:
            return super().run(request, cohort)
        late = self._clock.late(cohort, self._min_updates)
        asked = [party for party in cohort if party not in late]
        return self._merged(super().run(request, asked), cohort, late)

    @staticmethod
    def _merged(
        replies: Iterator[Reply], cohort: Sequence[str], late: dict[str, str]
    ) -> Iterator[Reply]:
        for party in cohort:
            yield Failure(party, late[party]) if party in late else next(replies)
