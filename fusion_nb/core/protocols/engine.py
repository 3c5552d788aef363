"""The contract of an engine: the transport between a federation and its parties."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from fusion_nb.core.protocols.model import Model
from fusion_nb.core.protocols.open_round import OpenRound
from fusion_nb.core.protocols.party import PartyLike
from fusion_nb.core.types import Reply, Request
from fusion_nb.errors import ContractError


class Engine(ABC):
    """A transport: it carries requests to parties, and yields replies in the order of the cohort.

    The same seed must give the same curve as on `fusion_nb.engines.local.LocalEngine`, so that an
    engine decides where and when parties answer, and nothing else.

    >>> class InOrder(Engine):
    ...     "Ask one party after the other, with one model."
    ...     def start(self, parties, model, gate):
    ...         self._parties = {party.id: party for party in parties}
    ...         self._model, self._gate = model.clone(), gate
    ...         self._model.gate = gate
    ...
    ...     def run(self, request, cohort):
    ...         for party in cohort:
    ...             self._gate()
    ...             yield self._parties[party].answer(request, self._model)
    ...
    ...     def close(self):
    ...         self._parties = self._model = None

    A toy party and a toy model show how it is used:

    >>> class Echo:
    ...     id = "party 1"
    ...     def answer(self, request, model):
    ...         return Update(self.id, request.weights, num_examples=10)
    >>> class NoModel:
    ...     def clone(self):
    ...         return NoModel()
    >>> from fusion_nb.core.types import EvaluateRequest, Update
    >>> engine = InOrder()
    >>> engine.start([Echo()], NoModel(), gate=lambda: None)
    >>> [reply.party for reply in engine.run(EvaluateRequest({}), ["party 1"])]
    ['party 1']
    >>> engine.close()
    """

    @abstractmethod
    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Take over the parties, and copies of the model for workers.

        gate: to be called between batches, by `model.gate`; it may block or raise Stopped
        """

    @abstractmethod
    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort, and yield one reply for each, in that order."""

    @abstractmethod
    def close(self) -> None:
        """Release workers and settings. Safe to call twice; `start` may follow."""

    def width(self, model: Model, num_parties: int) -> int:
        """Return how many parties train at once."""
        return 1

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Return notes for the user, as sentences. Raises OptionError where it can't run them.

        options: those of `Model.fit`
        """
        return []

    @property
    def has_real_time(self) -> bool:
        """Whether it has `run_open`: parties answer on their own, each in its own time."""
        return False

    def run_open(self, round: OpenRound) -> Iterator[Reply]:
        """Ask parties as the round names them, and yield replies in the order in which they come.

        Replies may be to requests of earlier rounds, which go on while nobody reads. It ends where
        nobody is under way and nobody is to be asked.
        """
        raise ContractError(
            f"{type(self).__name__} takes replies in the order of a cohort only",
            "write run_open, or let has_real_time be False",
        )

    def give_up(self) -> None:
        """Let all parties give up that `run_open` asked, and drop their replies."""
        return

    @property
    def notes(self) -> Sequence[str]:
        """Sentences for the card of a run about where it trained, known since the last start."""
        return ()

    @property
    def innermost(self) -> Engine:
        """The engine that does the work, where others are wrapped around it."""
        return self


class EngineWrapper(Engine):
    """An engine around another one, which passes everything through unless overridden.

    One that is registered under a name makes the inner engine in its constructor:
    `super().__init__(LocalEngine())`, of `fusion_nb.engines.local`.

    >>> class Counting(EngineWrapper):
    ...     "Count the requests."
    ...     count = 0
    ...     def run(self, request, cohort):
    ...         self.count += 1
    ...         return super().run(request, cohort)
    """

    def __init__(self, inner: Engine) -> None:
        self.inner = inner

    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Start the inner engine."""
        self.inner.start(parties, model, gate)

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort by the inner engine."""
        return self.inner.run(request, cohort)

    def close(self) -> None:
        """Close the inner engine."""
        self.inner.close()

    def width(self, model: Model, num_parties: int) -> int:
        """Return how many parties the inner engine trains at once."""
        return self.inner.width(model, num_parties)

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Return the inner engine's notes."""
        return self.inner.check(model, options, parties)

    @property
    def has_real_time(self) -> bool:
        """Whether the inner engine has it."""
        return self.inner.has_real_time

    def run_open(self, round: OpenRound) -> Iterator[Reply]:
        """Take replies as they come from the inner engine."""
        return self.inner.run_open(round)

    def give_up(self) -> None:
        """Let the inner engine's parties give up."""
        self.inner.give_up()

    @property
    def notes(self) -> Sequence[str]:
        """The inner engine's."""
        return self.inner.notes

    @property
    def innermost(self) -> Engine:
        """The innermost engine of the inner one."""
        return self.inner.innermost
