"""An engine in whose real time a test decides who replies next."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from fusion_nb.core.protocols import Engine, OpenRound
from fusion_nb.core.types import EvaluateRequest, Failure, Reply, Request, RoundRequest


class Scripted(Engine):
    """Parties reply in the order of a list of names; `!name` fails, and a function is called.

    Once the list is over, who was asked first replies first.
    """

    script: ClassVar[list[str | Callable[[], Any]]] = []
    #: All that was asked, and how often parties were told to give up.
    log: ClassVar[list[Any]] = []

    #: Parties that can't be measured.
    gone: ClassVar[set[str]] = set()

    def start(self, parties: Sequence[Any], model: Any, gate: Callable[[], None]) -> None:
        self._parties = {party.id: party for party in parties}
        self._model, self._gate = model.clone(), gate
        self._model.gate = gate
        self._open: dict[str, RoundRequest] = {}

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        if isinstance(request, EvaluateRequest):
            self.log.append(("evaluate", *cohort))
        for party in cohort:
            if isinstance(request, EvaluateRequest) and party in self.gone:
                yield Failure(party, "its node has ended")
            else:
                yield self._parties[party].answer(request, self._model)

    @property
    def has_real_time(self) -> bool:
        return True

    def run_open(self, round: OpenRound) -> Iterator[Reply]:
        while True:
            while (found := round.next()) is not None:
                party, request = found
                assert party not in self._open
                self._open[party] = request
                self.log.append((request.round, party))
            if not self._open:
                return
            self._gate()
            while self.script and callable(self.script[0]):
                self.script.pop(0)()
                self._gate()
            wanted = self.script.pop(0) if self.script else next(iter(self._open))
            party = str(wanted).removeprefix("!")
            request = self._open.pop(party)
            if str(wanted).startswith("!"):
                yield Failure(party, "its node has ended")
            else:
                yield self._parties[party].answer(request, self._model)

    def give_up(self) -> None:
        self.log.append(("gave up", *sorted(self._open)))
        self._open.clear()

    def close(self) -> None:
        self._open = {}
