"""The in-kernel engine: parties train side by side, one on each core."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.core.process.machine import MOST_WORKERS, kept_memory, num_cores, reused_memory
from fusion_nb.core.process.thread_pool import WorkerPool
from fusion_nb.core.protocols import Engine, Model, PartyLike
from fusion_nb.core.types import EvaluateRequest, Reply, Request, RoundRequest

#: Products of a forward pass from which on threads are worth their hand-overs: of a batch, whose
#: step has passes back as well, and of a party's test rows.
_WORTH_THREADS, _TEST_WORTH_THREADS = 1_500_000, 10_000_000


class LocalEngine(Engine):
    """Runs parties in this process, one on each core. Other engines are held to its curve.

    There is one model for each core, however many parties there are: weights are loaded before
    each party's turn. A party's training keeps to one core, so that its numbers are the same
    whatever trains beside it. Parties whose models can't be trained in threads (Keras, gensim)
    train one after the other, and so do those whose batches are over before a thread has started
    the next one, unless a number of workers is given.
    """

    def __init__(
        self,
        *,
        workers: Annotated[
            int,
            Field(
                description="parties that train at once, at most; 0: one for each core",
                ge=0,
                le=MOST_WORKERS,
            ),
        ] = 0,
        keep_memory: Annotated[
            bool,
            Field(description="faster: freed memory stays with the process until the run ends"),
        ] = False,
    ) -> None:
        self._most, self._is_given = workers or num_cores(), bool(workers)
        self._keep_memory = keep_memory
        self._parties: dict[str, PartyLike] = {}
        #: Test rows of a party, on average.
        self._num_test = 0.0
        self._model: Model | None = None
        self._workers: WorkerPool[Model] | None = None
        self._settings = ExitStack()
        self._finalizer: Callable[[], Any] = lambda: None

    def width(self, model: Model, num_parties: int) -> int:
        """Return how many parties train at once."""
        return min(self._most, num_parties) if model.thread_safe else 1

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Return notes for the user, as sentences."""
        if self._keep_memory:
            return ["memory: what is freed stays with the process until the run ends"]
        return []

    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Take over the parties, and a copy of the model for each worker."""
        self._parties = {party.id: party for party in parties}
        self._num_test = sum(party.num_test for party in parties) / max(1, len(parties))
        self._model = model.clone()
        self._model.gate = gate
        if model.thread_safe and len(parties) > 1:
            self._model.num_cores = 1
        memory = kept_memory if self._keep_memory else reused_memory
        self._settings.enter_context(memory())
        if (width := self.width(model, len(parties))) > 1:
            models = [self._model, *(self._model.clone() for _ in range(width - 1))]
            workers = self._workers = WorkerPool(models, gate, model.single_threaded)
            for each in models:
                each.gate = lambda: workers.gate()  # a function, since models are deep-copied
        # An engine that is dropped unclosed leaves neither threads nor settings behind.
        finalizer = weakref.finalize(self, _release, self._workers, self._settings)
        finalizer.atexit = False  # a kernel that ends does not wait for a run that is paused
        self._finalizer = finalizer

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort, and yield their replies in its order."""
        if self._workers and len(cohort) > 1 and self._is_long(request):
            return self._workers.map(
                lambda model, party: self._parties[party].answer(request, model), cohort
            )
        return self._one_by_one(request, cohort)

    def close(self) -> None:
        """Release the models and the parties, and give the process its settings back."""
        self._finalizer()
        self._parties, self._model, self._workers = {}, None, None

    def _is_long(self, request: Request) -> bool:
        """Return whether a request gives workers enough to do between two hand-overs."""
        if not isinstance(request, RoundRequest | EvaluateRequest):
            return False
        assert self._model is not None
        each = self._model.products_per_row
        if self._is_given or not each:
            return True
        if isinstance(request, RoundRequest):
            return each * request.options.get("batch_size", 1) >= _WORTH_THREADS
        rows = min(self._num_test, request.num_test_rows or self._num_test)
        return each * rows >= _TEST_WORTH_THREADS

    def _one_by_one(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        assert self._model is not None
        for party in cohort:
            self._model.gate()
            yield self._parties[party].answer(request, self._model)


def _release(workers: WorkerPool[Model] | None, settings: ExitStack) -> None:
    if workers:
        workers.close()
    settings.close()
