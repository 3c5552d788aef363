"""How far a round is: an engine around another one that counts replies."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_nb.core.types import Engine, Failure, Reply, Verb


@dataclass(frozen=True)
class Progress:
    """How many of a round's cohort have answered so far, and which of them failed."""

    round: int
    cohort_size: int
    num_replies: int = 0
    failed: tuple[str, ...] = ()


class Watched:
    """Carries what the other engine carries, and tells `listeners` of each reply in a round."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.listeners: list[Callable[[Progress], None]] = []

    @property
    def innermost(self) -> Any:
        """The engine that does the work, where others stand around it."""
        engine: Any = self._engine
        while hasattr(engine, "inner"):
            engine = engine.inner
        return engine

    def start(self, parties: Sequence[Any], model: Any, gate: Callable[[], None]) -> None:
        """Let the engine take charge of the parties."""
        self._engine.start(parties, model, gate)

    def run(self, verb: Verb, cohort: Sequence[str], **orders: Any) -> Iterator[Reply]:
        """Ask each party of the cohort."""
        replies = self._engine.run(verb, cohort, **orders)
        return (
            self._counted(replies, len(cohort), orders["round"]) if orders.get("round") else replies
        )

    def close(self) -> None:
        """Let go of the engine's workers."""
        self._engine.close()

    def _counted(self, replies: Iterator[Reply], cohort_size: int, round: int) -> Iterator[Reply]:
        failed: tuple[str, ...] = ()
        for num_replies, reply in enumerate(replies, 1):
            failed += (reply.party,) if isinstance(reply, Failure) else ()
            self._tell(Progress(round, cohort_size, num_replies, failed))
            yield reply

    def _tell(self, progress: Progress) -> None:
        for listener in list(self.listeners):
            try:
                listener(progress)
            except Exception:  # what can't be shown must not end a training
                self.listeners.remove(listener)
                traceback.print_exc(file=sys.stderr)
