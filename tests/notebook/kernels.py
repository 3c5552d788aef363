"""Helpers of tests with a real kernel: they speak to it as a front end does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]


def execute(client: Any, code: str, *, stdin: bool = False) -> list[Message]:
    """Run a cell to its end, and return every message that came meanwhile, those of earlier cells
    too."""
    sent = client.execute(code, allow_stdin=stdin)
    return collect(client, lambda message: is_idle(message) and is_of(message, sent))


def collect(client: Any, until: Callable[[Message], bool], timeout: float = 120) -> list[Message]:
    """Read messages until one for which `until` holds."""
    messages: list[Message] = []
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        messages.append(client.get_iopub_msg(timeout=timeout))
        if until(messages[-1]):
            return messages
    raise AssertionError("the message never came")


def text(messages: list[Message]) -> str:
    """Return all text in messages: what was printed, shown and raised."""
    parts = []
    for message in messages:
        content = message["content"]
        parts += [content.get("text", ""), content.get("data", {}).get("text/plain", "")]
        if message["msg_type"] == "error":
            parts.append(f"{content['ename']}: {content['evalue']}")
    return "\n".join(parts)


def shows(*words: str) -> Callable[[Message], bool]:
    """Return a predicate: a widget was given HTML with all these words."""
    return lambda message: all(word in _value(message) for word in words)


def is_idle(message: Message) -> bool:
    return message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"


def is_of(message: Message, request: str) -> bool:
    """Return whether a message answers a request."""
    return message["parent_header"].get("msg_id") == request


def _value(message: Message) -> str:
    if message["msg_type"] != "comm_msg":
        return ""
    return str(message["content"].get("data", {}).get("state", {}).get("value", ""))
