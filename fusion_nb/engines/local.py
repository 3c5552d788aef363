"""The in-kernel engine: parties train side by side, one on each core."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.core.machine import kept_memory, num_cores
from fusion_nb.core.thread_pool import Workers
from fusion_nb.core.types import Reply, Verb


class LocalEngine:
    """Runs parties in this process, one on each core; the curve it gives is what other engines are
    held to.

    There is one model for each core, however many parties there are: weights are swapped in before
    each party's turn. A party's training keeps to one core, so that its numbers are the same
    whatever trains beside it. Parties whose models can't be trained in threads (Keras, gensim) take
    turns.
    """

    def __init__(
        self,
        *,
        workers: Annotated[
            int,
            Field(description="parties that train at once, at most; 0: one for each core", ge=0),
        ] = 0,
        keep_memory: Annotated[
            bool,
            Field(description="faster: freed memory stays with the process until the run ends"),
        ] = False,
    ) -> None:
        self._most, self._keep_memory = workers or num_cores(), keep_memory
        self._parties: dict[str, Any] = {}
        self._model: Any = None
        self._workers: Workers | None = None
        self._settings = ExitStack()
        self._forgotten: Any = None

    def width(self, model: Any, num_parties: int) -> int:
        """Return how many parties train at once."""
        return min(self._most, num_parties) if model.side_by_side else 1

    def check(self, model: Any, orders: dict[str, Any], parties: Sequence[Any]) -> list[str]:
        """Return what is to be said about how it runs them, as sentences."""
        return (
            ["memory: what is freed stays with the process until the run ends"]
            if self._keep_memory
            else []
        )

    def start(self, parties: Sequence[Any], model: Any, gate: Callable[[], None]) -> None:
        """Take the parties over, and a copy of the model for each worker."""
        self._parties = {party.id: party for party in parties}
        self._model = model.clone()
        self._model.gate = gate
        # A party that trains alone has all cores for itself.
        if model.side_by_side and len(parties) > 1:
            self._settings.enter_context(model.on_one_core())
            self._model.num_cores = 1
        if self._keep_memory:
            self._settings.enter_context(kept_memory())
        if (width := self.width(model, len(parties))) > 1:
            models = [self._model, *(self._model.clone() for _ in range(width - 1))]
            self._workers = Workers(models, gate, model.on_one_core)
            for each in models:
                each.gate = self._workers.gate
        # Whoever drops an engine without closing it leaves neither threads nor settings behind.
        self._forgotten = weakref.finalize(self, _let_go, self._workers, self._settings)
        self._forgotten.atexit = False  # a kernel that ends does not wait for a run that is held

    def run(self, verb: Verb, cohort: Sequence[str], **orders: Any) -> Iterator[Reply]:
        """Ask each party of the cohort, and yield their replies in its order."""

        def answer(model: Any, party: str) -> Reply:
            reply: Reply = self._parties[party].answer(verb, model, **orders)
            return reply

        if self._workers and verb in ("fit", "evaluate") and len(cohort) > 1:
            return self._workers.map(answer, cohort)
        return self._in_turn(answer, cohort)

    def close(self) -> None:
        """Let go of the models and the parties, and give the process its settings back."""
        if self._forgotten:
            self._forgotten()
        self._parties, self._model, self._workers = {}, None, None

    def _in_turn(
        self, answer: Callable[[Any, str], Reply], cohort: Sequence[str]
    ) -> Iterator[Reply]:
        for party in cohort:
            self._model.gate()
            yield answer(self._model, party)


def _let_go(workers: Workers | None, settings: ExitStack) -> None:
    if workers:
        workers.close()
    settings.close()
