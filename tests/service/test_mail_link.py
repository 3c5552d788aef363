"""Both ends of the messages with parties that keep their rows, without a server between them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from fusion_nb.core.files.tree_file import unpack_tree
from fusion_nb.engines.remote.answering import GIVE_UP, REQUEST, Envelope, Steering, answer_all
from fusion_nb.engines.remote.link import Answer, EndedError
from fusion_nb.engines.remote.session import Session
from fusion_nb.errors import RunError, ServiceError, Stopped
from fusion_nb.service.mail.link import MailLink
from fusion_nb.service.mail.mailbox import Mailbox, MessageId
from fusion_nb.service.party import fleet as module
from fusion_nb.service.party.fleet import Mail, ServiceFleet

ID = f"{1:016x}-{5:012x}-00000001"
BODY = Envelope(REQUEST, 1, b"train").packed()


@pytest.fixture
def boxes(tmp_path: Path) -> dict[str, Mailbox]:
    return {name: Mailbox(tmp_path / name) for name in ("a", "b")}


def content(box: Mailbox, message: MessageId) -> bytes:
    file = box.opened(message)
    assert file is not None
    with file:
        return file.read()


def answered(box: Mailbox, tmp_path: Path, body: bytes) -> bytes:
    """Answer the first message of a party, and return it."""
    message = box.first(box.node)
    assert message is not None
    found = content(box, message)
    path = tmp_path / "draft"
    path.write_bytes(body)
    box.place(message, path)
    return found


class TestLink:
    def test_requests_and_replies_go_to_the_party_that_was_asked(
        self, boxes: dict[str, Mailbox], tmp_path: Path
    ) -> None:
        nodes = {name: int(box.open(), 16) for name, box in boxes.items()}
        link = MailLink(boxes)
        assert link.nodes() == sorted(nodes.values())
        ids = link.push([(nodes["a"], b"for a"), (nodes["b"], b"for b")])
        assert answered(boxes["b"], tmp_path, b"of b") == b"for b"
        assert link.pull(ids) == {ids[1]: Answer(b"of b")}
        assert link.pull(ids) == {}
        assert [link.name_of(nodes[name]) for name in "ab"] == ["a", "b"]

    def test_a_party_that_has_not_come_is_no_node(self, boxes: dict[str, Mailbox]) -> None:
        boxes["a"].open()
        assert len(MailLink(boxes).nodes()) == 1

    def test_a_node_that_was_replaced_takes_no_request(self, boxes: dict[str, Mailbox]) -> None:
        before = int(boxes["a"].open(), 16)
        link = MailLink(boxes)
        link.nodes()
        boxes["a"].open()
        assert link.push([(before, b"x")]) == [""]

    def test_a_new_run_lets_the_requests_of_the_last_one_be_given_up(
        self, boxes: dict[str, Mailbox]
    ) -> None:
        node = int(boxes["a"].open(), 16)
        first = MailLink(boxes)
        first.nodes()
        (asked,) = first.push([(node, BODY)])
        second = MailLink(boxes)
        second.nodes()
        message = boxes["a"].first(boxes["a"].node)
        assert message is not None
        assert message.run == asked.split("-")[1]
        body = content(boxes["a"], message)
        steering = Steering()
        steering.begin(int(message.run, 16), 1)
        steering.hear(int(message.run, 16), Envelope.of(body))
        assert Envelope.of(body).kind == GIVE_UP
        with pytest.raises(Stopped):
            steering.gate()

    def test_a_run_that_has_ended_asks_nothing(self, boxes: dict[str, Mailbox]) -> None:
        link = MailLink(boxes)
        link.close()
        link.close()
        with pytest.raises(RunError, match="the run has ended"):
            link.nodes()

    def test_a_party_is_called_as_it_registered(
        self, boxes: dict[str, Mailbox], tmp_path: Path
    ) -> None:
        from fusion_nb.core.files.tree_file import pack_tree

        boxes["a"].open()
        session = Session(MailLink(boxes))

        def gate() -> None:
            if boxes["a"].first(boxes["a"].node) is not None:
                told = {"name": "b", "num_rows": 3, "facts": []}
                answered(boxes["a"], tmp_path, pack_tree(told, "it"))

        session.gate = gate
        (found,) = session.describe_new()
        assert found.name == "a"


class FakeTransport:
    """A service that answers calls with what it is given, one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.calls = [*answers], []  # type: ignore[var-annotated]

    def fetch(self, path: str, **request: Any) -> tuple[Mapping[str, str], bytes]:
        return cast(Any, self._next(path, request))

    def call(self, method: str, path: str, **request: Any) -> Any:
        return self._next(path, request)

    def _next(self, path: str, request: dict[str, Any]) -> Any:
        self.calls.append((path, request))
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found() if callable(found) else found


def fleet(*answers: Any) -> tuple[ServiceFleet, FakeTransport]:
    transport = FakeTransport(*answers)
    return ServiceFleet(cast(Any, transport), "agg/1", "St. Mary", "token", "node", 99), transport


class TestFleet:
    @pytest.fixture(autouse=True)
    def no_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module.time, "sleep", lambda seconds: None)

    def test_a_message_is_named_in_the_next_call(self) -> None:
        made, transport = fleet(({"X-Fusion-Message": ID}, BODY), ({}, b""))
        assert made.receive() == Mail(ID, BODY)
        assert made.receive() is None
        (first, one), (_, two) = transport.calls
        assert first == "/messages/agg%2F1"
        assert (one["params"]["after"], two["params"]["after"]) == ("", ID)
        assert one["headers"] == {"X-Fusion-Token": "token"}
        assert one["most"] == 99

    def test_an_end_is_told(self) -> None:
        made, _ = fleet(({"X-Fusion-Ended": "true"}, b""))
        with pytest.raises(EndedError, match="no row has left"):
            made.receive()

    @pytest.mark.parametrize("message", ["x", "a-b", "1-z-1"])
    def test_a_server_of_another_kind_is_refused(self, message: str) -> None:
        made, _ = fleet(({"X-Fusion-Message": message}, BODY))
        with pytest.raises(ServiceError, match="no id"):
            made.receive()

    def test_a_service_that_is_gone_for_a_moment_is_asked_again(self) -> None:
        gone = ServiceError("it can't be reached")
        made, _ = fleet(gone, gone, ({}, b""))
        assert made.receive() is None
        made, _ = fleet(*[gone] * 9)
        with pytest.raises(ServiceError, match="can't be reached"):
            made.receive()

    def test_a_refusal_is_asked_once(self) -> None:
        made, transport = fleet(ServiceError("no", status=403))
        with pytest.raises(ServiceError):
            made.receive()
        assert len(transport.calls) == 1

    def test_a_reply_that_nobody_waits_for_is_no_mistake(self) -> None:
        made, transport = fleet(ServiceError("no run waits", status=404))
        made.send(Mail(ID, BODY), b"reply")
        ((path, request),) = transport.calls
        assert path == f"/messages/agg%2F1/{ID}"
        assert request["content"] == b"reply"

    def test_a_reply_that_is_too_large_becomes_a_line_about_it(self) -> None:
        made, transport = fleet(ServiceError("too large", status=413), None)
        made.send(Mail(ID, BODY), b"x" * 1000)
        tree = unpack_tree(transport.calls[1][1]["content"], "it")
        assert "1000 bytes" in tree["refused"]

    def test_an_end_stops_the_request_under_way(self) -> None:
        has_begun = threading.Event()

        def end() -> tuple[Mapping[str, str], bytes]:
            has_begun.wait()
            return {"X-Fusion-Ended": "true"}, b""

        made, _ = fleet(({"X-Fusion-Message": ID}, BODY), end)
        steering, ended = Steering(), []

        def answer(incoming: Mail, envelope: Envelope) -> bytes:
            has_begun.set()
            try:
                while True:
                    steering.gate()
            except Stopped:
                ended.append(envelope.content)
                raise

        with pytest.raises(EndedError):
            answer_all(made, steering, answer)
        assert ended == [b"train"]


def test_ids_of_a_link_are_names_of_messages(boxes: dict[str, Mailbox]) -> None:
    node = int(boxes["a"].open(), 16)
    link = MailLink(boxes)
    link.nodes()
    assert all(MessageId.read(found) for found in link.push([(node, b"x")] * 2))
