"""Progress within a round: an engine around another one that counts replies."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fusion_nb.core.protocols import Engine, EngineWrapper, OpenRound
from fusion_nb.core.types import Failure, Reply, Request, RoundRequest


@dataclass(frozen=True)
class Progress:
    """How many of a round's cohort have replied so far, and which of them failed."""

    round: int
    cohort_size: int
    num_replies: int = 0
    failed: tuple[str, ...] = ()


class ProgressEngine(EngineWrapper):
    """Passes everything on, and calls listeners after each reply in a round."""

    def __init__(self, inner: Engine) -> None:
        super().__init__(inner)
        self._listeners: list[Callable[[Progress], None]] = []

    def on_progress(self, listener: Callable[[Progress], None]) -> Callable[[], None]:
        """Call a listener after each reply, in the training thread; return what ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            self._listeners = [kept for kept in self._listeners if kept is not listener]

        return unsubscribe

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort."""
        replies = super().run(request, cohort)
        if isinstance(request, RoundRequest) and request.round:
            return self._counted(replies, len(cohort), request.round)
        return replies

    def run_open(self, round: OpenRound) -> Iterator[Reply]:
        """Take replies as they come, and count them up to those that the round waits for."""
        return self._counted(super().run_open(round), round.awaited, round.round)

    def _counted(self, replies: Iterator[Reply], cohort_size: int, round: int) -> Iterator[Reply]:
        failed: tuple[str, ...] = ()
        for num_replies, reply in enumerate(replies, 1):
            failed += (reply.party,) if isinstance(reply, Failure) else ()
            self._notify(Progress(round, cohort_size, num_replies, failed))
            yield reply

    def _notify(self, progress: Progress) -> None:
        for listener in self._listeners:
            try:
                listener(progress)
            except Exception:  # a display that fails must not end a training
                self._listeners = [kept for kept in self._listeners if kept is not listener]
                traceback.print_exc(file=sys.stderr)
