"""The in-kernel engine: parties take turns with one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fusion_nb.types import Reply, Verb


class LocalEngine:
    """Runs every party in this process, one after the other; the curve it gives is what other engines are held to.

    There is one model however many parties there are: weights are swapped in before each party's turn.
    """

    def __init__(self) -> None:
        self._parties: dict[str, Any] = {}
        self._model: Any = None

    def start(self, parties: Sequence[Any], model: Any, gate: Callable[[], None]) -> None:
        """Take the parties over, and a copy of the model that they share."""
        self._parties = {party.id: party for party in parties}
        self._model = model.clone()
        self._model.gate = gate

    def run(self, verb: Verb, cohort: Sequence[str], **orders: Any) -> Iterator[Reply]:
        """Ask each party of the cohort in turn, and yield its reply."""
        for party in cohort:
            self._model.gate()
            yield self._parties[party].answer(verb, self._model, **orders)

    def close(self) -> None:
        """Let go of the model and the parties."""
        self._parties, self._model = {}, None
