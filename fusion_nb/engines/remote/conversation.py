"""Requests to the nodes of a link, and their answers in order."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

from fusion_nb.engines.remote.answering import GIVE_UP, GO, HOLD, REQUEST, Envelope
from fusion_nb.engines.remote.link import Answer, Link
from fusion_nb.errors import RunError

#: Seconds between two looks for answers.
_LOOK_SECONDS = 0.05
#: Seconds that the gate may take before nodes are told that the run is paused.
_PATIENCE_SECONDS = 0.3
#: Requests for each node that may be under way; each holds the weights of a model.
_PREFETCH = 2
#: The numbers of requests; several conversations of one run share them.
_NUMBERS = itertools.count(1)


class Question(NamedTuple):
    """A request to one party, as bytes, and the node that answers for it."""

    party: str
    node: int
    content: bytes


class Conversation:
    """Asks nodes over a link.

    gate:    called while it waits; it may block (a pause) or raise Stopped
    is_gone: returns why a node will not answer any more, or ""
    """

    def __init__(self, link: Link, gate: Callable[[], None], is_gone: Callable[[int], str]) -> None:
        self._link, self._gate, self._is_gone = link, gate, is_gone
        self._number = 0  # of its last request

    def ask(self, questions: Iterable[Question], num_nodes: int) -> Iterator[tuple[str, Answer]]:
        """Yield the party and the answer to each question, in order.

        Where nobody reads on, or the run is stopped, nodes are told to give up.
        """
        rest = iter(questions)
        asked: list[Question] = []
        waiting: dict[str, Question] = {}
        answers: dict[str, Answer] = {}
        try:
            self._send(itertools.islice(rest, _PREFETCH * num_nodes), asked, waiting, answers)
            while asked:
                while asked[0].party not in answers:
                    self._look(waiting, answers)
                first = asked.pop(0)
                self._send(itertools.islice(rest, 1), asked, waiting, answers)
                yield first.party, answers.pop(first.party)
        finally:
            self._steer(GIVE_UP, waiting.values())

    def _send(
        self,
        questions: Iterable[Question],
        asked: list[Question],
        waiting: dict[str, Question],
        answers: dict[str, Answer],
    ) -> None:
        """Send questions; one that the link does not take is answered by an error."""
        for question in questions:
            self._number = next(_NUMBERS)
            body = Envelope(REQUEST, self._number, question.content).packed()
            asked.append(question)
            if reason := self._is_gone(question.node):
                answers[question.party] = Answer(b"", reason)
                continue
            message_id = self._link.push([(question.node, body)])[0]
            if message_id:
                waiting[message_id] = question
            else:
                answers[question.party] = Answer(
                    b"", f"{self._link.place} did not take its request"
                )

    def _look(self, waiting: dict[str, Question], answers: dict[str, Answer]) -> None:
        """Pass the gate, and take the answers that have come since."""
        with self._holding(waiting.values()):
            self._gate()
        found = self._link.pull(waiting)
        for message_id, answer in found.items():
            if message_id in waiting:
                answers[waiting.pop(message_id).party] = answer
        for message_id, question in [*waiting.items()]:
            if reason := self._is_gone(question.node):
                del waiting[message_id]
                answers[question.party] = Answer(b"", reason)
        if not found:
            time.sleep(_LOOK_SECONDS)

    @contextmanager
    def _holding(self, questions: Iterable[Question]) -> Iterator[None]:
        """Hold the nodes for as long as the gate blocks, once it has blocked for a moment."""
        asked, was_held = [*questions], threading.Event()

        def hold() -> None:
            was_held.set()
            self._steer(HOLD, asked)

        timer = threading.Timer(_PATIENCE_SECONDS, hold)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            if was_held.is_set():
                timer.join()
                self._steer(GO, asked)

    def _steer(self, kind: bytes, questions: Iterable[Question]) -> None:
        """Tell the nodes that have these questions to hold, go on, or give up."""
        nodes = sorted({question.node for question in questions})
        body = Envelope(kind, self._number, b"").packed()
        with suppress(RunError):
            self._link.push([(node, body) for node in nodes])


def spread(parties: Sequence[str], nodes: Sequence[int]) -> dict[str, int]:
    """Return the node of each party: one after the other."""
    return {party: nodes[i % len(nodes)] for i, party in enumerate(parties)}
