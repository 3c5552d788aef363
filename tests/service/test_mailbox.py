"""The messages of a party that keeps its rows: whole files of one node, in their order."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fusion_nb.core.files.storage import DRAFT
from fusion_nb.service.errors import OrderError, UnknownError
from fusion_nb.service.mail.mailbox import PRESENT_SECONDS, Mailbox, MessageId

RUN = "0123456789ab"


@pytest.fixture
def box(tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mail")


def message(node: str, number: int, run: str = RUN) -> MessageId:
    return MessageId(node, run, f"{number:08}")


def reply(tmp_path: Path, body: bytes = b"reply") -> Path:
    path = tmp_path / f"reply {time.monotonic_ns()}"
    path.write_bytes(body)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "a" * 16,
        f"../../etc/{RUN}-00000001",
        f"{'a' * 16}-{RUN}-1",
        f"{'a' * 16}-{RUN}-٠٠٠٠٠٠٠١",
    ],
)
def test_another_name_is_no_message(text: str) -> None:
    assert MessageId.read(text) is None


def test_a_name_is_read_as_it_was_written() -> None:
    assert MessageId.read(str(message("a" * 16, 7))) == message("a" * 16, 7)


class TestRequests:
    def test_they_come_in_order_until_they_are_named(self, box: Mailbox) -> None:
        node = box.open()
        for number in (2, 1, 3):
            assert box.put(message(node, number), b"%d" % number)
        assert box.first(node) == message(node, 1)
        assert box.first(node) == message(node, 1)
        box.drop(message(node, 2))
        assert box.first(node) == message(node, 3)
        file = box.opened(message(node, 3))
        assert file is not None
        with file:
            assert file.read() == b"3"

    def test_a_name_of_another_run_drops_none(self, box: Mailbox) -> None:
        node = box.open()
        box.put(message(node, 1), b"1")
        box.drop(message(node, 9, "f" * 12))
        assert box.first(node) == message(node, 1)

    def test_half_a_file_is_none(self, box: Mailbox, tmp_path: Path) -> None:
        node = box.open()
        (tmp_path / "mail" / node / f"{DRAFT}1").write_bytes(b"half")
        (tmp_path / "mail" / node / f"request-{RUN}-1").write_bytes(b"not of ours")
        assert box.first(node) is None

    def test_of_a_node_that_was_replaced_they_are_gone(self, box: Mailbox) -> None:
        before = box.open()
        box.put(message(before, 1), b"1")
        node = box.open()
        assert node != before
        assert box.first(node) is None
        assert box.first(before) is None
        assert not box.put(message(before, 2), b"2")


class TestReplies:
    def test_a_run_takes_one_once(self, box: Mailbox, tmp_path: Path) -> None:
        node = box.open()
        box.put(message(node, 1), b"1")
        assert box.take(message(node, 1)) is None
        box.place(message(node, 1), reply(tmp_path, b"yes"))
        assert box.take(message(node, 1)) == b"yes"
        assert box.take(message(node, 1)) is None

    @pytest.mark.parametrize("is_fetched", [True, False])
    def test_after_it_earlier_messages_need_none(
        self, box: Mailbox, tmp_path: Path, is_fetched: bool
    ) -> None:
        node = box.open()
        for number in (1, 2, 3):
            box.put(message(node, number), b"x")
        if is_fetched:
            box.drop(message(node, 3))
        box.place(message(node, 2), reply(tmp_path))
        for number in (1, 2):
            with pytest.raises(UnknownError, match="no run waits"):
                box.check_waiting(message(node, number))
        box.check_waiting(message(node, 3))

    def test_one_that_nobody_asked_for_is_refused(self, box: Mailbox, tmp_path: Path) -> None:
        node = box.open()
        with pytest.raises(UnknownError, match="no run waits"):
            box.place(message(node, 1), reply(tmp_path))

    def test_one_of_a_node_that_was_replaced_is_refused(self, box: Mailbox, tmp_path: Path) -> None:
        before = box.open()
        box.put(message(before, 1), b"1")
        box.open()
        with pytest.raises(UnknownError, match="no run waits"):
            box.place(message(before, 1), reply(tmp_path))


class TestRuns:
    def test_a_run_that_begins_removes_what_another_left(
        self, box: Mailbox, tmp_path: Path
    ) -> None:
        node = box.open()
        for number in (1, 2, 3):
            box.put(message(node, number), b"x")
        box.drop(message(node, 2))
        box.place(message(node, 1), reply(tmp_path))
        assert box.clear() == {RUN}
        assert [*(tmp_path / "mail" / node).iterdir()] == []
        assert box.clear() == set()


class TestPresence:
    def test_before_the_first_node_nobody_is_there(self, box: Mailbox) -> None:
        assert box.node == ""
        assert not box.is_present()

    def test_a_node_is_there_while_it_calls(self, box: Mailbox, tmp_path: Path) -> None:
        node = box.open()
        assert box.is_present()
        long_ago = time.time() - 2 * PRESENT_SECONDS
        os.utime(tmp_path / "mail" / "node.json", (long_ago, long_ago))
        assert not box.is_present()
        box.call(node)
        assert box.is_present()

    def test_a_second_program_takes_the_place_of_the_first(self, box: Mailbox) -> None:
        first, second = box.open(), box.open()
        with pytest.raises(OrderError, match="another program takes part"):
            box.call(first)
        box.call(second)
