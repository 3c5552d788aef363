"""Messages between kernel and nodes, without any SuperLink: numbers, pauses, stops, lost nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from fusion_nb.engines.remote.answering import GIVE_UP, GO, HOLD, REQUEST, Envelope, Steering
from fusion_nb.engines.remote.conversation import Conversation, Question
from fusion_nb.engines.remote.link import Answer
from fusion_nb.errors import Stopped


class FakeLink:
    """A link whose nodes answer at once, with what they were sent; some never do."""

    place = "the SuperLink"

    def __init__(self, silent: Iterable[int] = (), refused: Iterable[int] = ()) -> None:
        self.silent, self.refused = {*silent}, {*refused}
        self.sent: list[tuple[int, Envelope]] = []
        self._answers: dict[str, Answer] = {}

    def push(self, bodies: Iterable[tuple[int, bytes]]) -> list[str]:
        ids = []
        for node, body in bodies:
            envelope = Envelope.of(body)
            self.sent.append((node, envelope))
            name = f"message {len(self.sent)}"
            if envelope.kind == REQUEST and node not in self.silent:
                self._answers[name] = Answer(envelope.content)
            ids.append("" if node in self.refused else name)
        return ids

    def pull(self, ids: Iterable[str]) -> Mapping[str, Answer]:
        return {name: self._answers.pop(name) for name in [*ids] if name in self._answers}

    def kinds(self) -> list[bytes]:
        return [envelope.kind for _, envelope in self.sent]


QUESTIONS = [Question(f"party {i}", i % 2, b"%d" % i) for i in range(5)]


def conversation(link: FakeLink, gate: Any = lambda: None, gone: Any = lambda node: "") -> Any:
    made: Any = Conversation(link, gate, gone)  # type: ignore[arg-type]
    return made


def test_answers_come_in_the_order_of_the_questions() -> None:
    found = list(conversation(FakeLink()).ask(QUESTIONS, 2))
    assert found == [(f"party {i}", Answer(b"%d" % i)) for i in range(5)]


def test_few_requests_are_under_way_at_once() -> None:
    link = FakeLink()
    answers = conversation(link).ask(QUESTIONS, 1)
    next(answers)
    assert len(link.sent) == 3  # two for the node, and one since the first was answered
    answers.close()


@pytest.mark.parametrize("silent", [0, 1])
def test_a_node_that_is_gone_is_an_error_of_its_parties(silent: int) -> None:
    link = FakeLink(silent=[silent])
    talk = conversation(link, gone=lambda node: "its node has ended" if node == silent else "")
    found = dict(talk.ask(QUESTIONS, 2))
    assert {name for name, answer in found.items() if answer.error} == {
        f"party {i}" for i in range(5) if i % 2 == silent
    }


def test_a_message_that_is_not_taken_is_an_error() -> None:
    found = dict(conversation(FakeLink(refused=[1])).ask(QUESTIONS, 2))
    assert "did not take" in found["party 1"].error
    assert not found["party 0"].error


def test_a_stop_tells_the_nodes_to_give_up() -> None:
    def gate() -> None:
        raise Stopped

    link = FakeLink(silent=[0, 1])
    with pytest.raises(Stopped):
        list(conversation(link, gate).ask(QUESTIONS, 2))
    assert link.kinds()[-2:] == [GIVE_UP, GIVE_UP]
    # The requests that were sent, and none after them.
    assert link.sent[-1][1].number == max(e.number for _, e in link.sent if e.kind == REQUEST)


def test_a_reader_that_leaves_tells_the_nodes_to_give_up() -> None:
    link = FakeLink(silent=[1])
    answers = conversation(link).ask(QUESTIONS, 2)
    next(answers)
    answers.close()
    node, last = link.sent[-1]
    assert (node, last.kind) == (1, GIVE_UP)
    assert last.number == max(e.number for _, e in link.sent if e.kind == REQUEST)


class TestEnvelope:
    @pytest.mark.parametrize("kind", [REQUEST, HOLD, GO, GIVE_UP])
    def test_it_is_read_as_it_was_written(self, kind: bytes) -> None:
        assert Envelope.of(Envelope(kind, 7, b"rest").packed()) == (kind, 7, b"rest")

    @pytest.mark.parametrize("body", [b"", b"r", b"r1234567", b"x12345678", b"\x80\x04pickled..."])
    def test_another_program_is_refused(self, body: bytes) -> None:
        with pytest.raises(ValueError, match="no message of fusion_nb"):
            Envelope.of(body)


class TestSteering:
    def test_what_is_given_up_stops_and_what_follows_does_not(self) -> None:
        steering = Steering()
        steering.begin(1, 3)
        steering.hear(1, Envelope(GIVE_UP, 4, b""))
        with pytest.raises(Stopped):
            steering.gate()
        with pytest.raises(Stopped):
            steering.begin(1, 4)
        steering.begin(1, 5)

    def test_a_stop_that_arrives_late_spares_what_is_newer(self) -> None:
        steering = Steering()
        steering.begin(1, 9)
        steering.hear(1, Envelope(GIVE_UP, 4, b""))
        steering.gate()

    def test_a_stop_of_another_run_is_not_for_this_one(self) -> None:
        steering = Steering()
        steering.hear(1, Envelope(GIVE_UP, 9, b""))
        steering.begin(2, 3)

    def test_a_stop_ends_a_pause(self) -> None:
        steering = Steering()
        steering.begin(1, 1)
        steering.hear(1, Envelope(HOLD, 1, b""))
        steering.hear(1, Envelope(GIVE_UP, 1, b""))
        with pytest.raises(Stopped):
            steering.gate()

    def test_a_pause_ends(self) -> None:
        steering = Steering()
        steering.begin(1, 1)
        steering.hear(1, Envelope(HOLD, 1, b""))
        steering.hear(1, Envelope(GO, 1, b""))
        steering.gate()
