"""Requests to nodes that stay under way while nobody waits, and answers as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fusion_nb.engines.remote.answering import GIVE_UP
from fusion_nb.engines.remote.conversation import Conversation, Question
from fusion_nb.engines.remote.link import Answer, Link


class OpenConversation(Conversation):
    """A conversation that also takes answers in the order in which they come."""

    def __init__(self, link: Link, gate: Callable[[], None], is_gone: Callable[[int], str]) -> None:
        super().__init__(link, gate, is_gone)
        self._under_way: dict[str, Question] = {}
        self._came: dict[str, Answer] = {}

    def ask_open(
        self, next_question: Callable[[], Question | None]
    ) -> Iterator[tuple[str, Answer]]:
        """Yield the party and the answer of each question, as they come.

        next_question: returns a question, or None while there is none; called before each wait
        Questions stay under way when it is left; their answers come the next time. It ends where
        nothing is under way. Where the run is stopped meanwhile, nodes are told to give up.
        """
        try:
            while True:
                while (question := next_question()) is not None:
                    self._send([question], [], self._under_way, self._came)
                if not self._came:
                    if not self._under_way:
                        return
                    self._look(self._under_way, self._came)
                while self._came:
                    party = next(iter(self._came))
                    yield party, self._came.pop(party)
        except GeneratorExit:
            raise
        except BaseException:
            self.give_up()
            raise

    def give_up(self) -> None:
        """Tell the nodes to give up, and drop the answers that nobody read."""
        if self._under_way:
            self._steer(GIVE_UP, self._under_way.values())
        self._under_way, self._came = {}, {}
