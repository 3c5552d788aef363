"""A party's connection to a SuperLink, whose runs may end at any moment."""

from __future__ import annotations

from typing import Any

import pytest
from extras import needs

from fusion_nb.engines.flower.fleet import Fleet
from fusion_nb.engines.flower.link import content_of
from fusion_nb.engines.flower.names import flower

needs("flwr")

BODY = b"a request"


def fleet(ends_at: str = "") -> Fleet:
    """Return a connection to which one message comes; its run ends at one of the calls."""
    message = flower("Message")(
        content=content_of(BODY),
        metadata=flower("Metadata")(
            run_id=1,
            message_id="",
            src_node_id=1,
            dst_node_id=2,
            reply_to_message_id="",
            group_id="",
            created_at=0.0,
            ttl=60.0,
            message_type="query",
        ),
    )
    name = message.object_id
    message.metadata.__dict__["_message_id"] = name
    parts = {
        part_id: part.deflate()
        for part_id, part in flower("get_all_nested_objects")(message).items()
    }

    def call(which: str, answer: Any = None) -> Any:
        def made(*arguments: Any) -> Any:
            if which == ends_at:
                raise flower("RunNotRunningException")
            return answer(*arguments) if callable(answer) else answer

        return made

    tree = flower("get_object_tree")(message)
    return Fleet(
        (
            2,
            call("receive", (message, tree)),
            call("send", ([], "")),
            call("run"),
            None,
            call("pull", lambda run_id, part: parts[part]),
            call("push"),
            call("confirm"),
        )
    )


def test_a_message_comes_in() -> None:
    found = fleet().receive()
    assert found is not None
    assert found.body == BODY


@pytest.mark.parametrize("call", ["receive", "pull", "confirm"])
def test_a_run_that_ends_while_a_message_comes_in_ends_no_party(call: str) -> None:
    assert fleet(call).receive() is None


def test_a_run_that_ends_before_the_answer_ends_no_party() -> None:
    found = fleet().receive()
    assert found is not None
    fleet("send").send(found, b"an answer")
