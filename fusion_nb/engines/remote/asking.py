"""Requests to the parties of a running federation, and their replies, of which none is believed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fusion_nb.core.protocols import OpenRound
from fusion_nb.core.types import Failure, Reply, Request
from fusion_nb.engines.remote import wire
from fusion_nb.engines.remote.session import Session
from fusion_nb.errors import RunError


def set_up(session: Session, tree: dict[str, Any]) -> None:
    """Give all nodes the model. Raises RunError where one refuses it, or can't train it."""
    session.prepare[1:] = [tree]
    for name, _, problem in session.ask((name, tree) for name in [*session.nodes]):
        if problem:
            raise RunError(f"{name}: {problem}", "agree with its owner on what it trains")


def ask(session: Session, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
    """Ask each party of the cohort, and yield their replies in its order."""
    session.take_back()
    contents = (
        (name, {"ask": "request", **wire.request_to_tree(request, name)}) for name in cohort
    )
    for name, tree, problem in session.ask(contents):
        yield Failure(name, problem) if problem else _reply(name, tree)


def ask_open(session: Session, round: OpenRound) -> Iterator[Reply]:
    """Ask parties as an open round names them, and yield replies as they come."""

    def next_content() -> tuple[str, dict[str, Any]] | None:
        if (found := round.next()) is None:
            return None
        session.take_back()
        name, request = found
        return name, {"ask": "request", **wire.request_to_tree(request, name)}

    for name, tree, problem in session.ask_open(next_content):
        yield Failure(name, problem) if problem else _reply(name, tree)


def _reply(name: str, tree: Any) -> Reply:
    try:
        return wire.reply_of_tree(tree, name)
    except ValueError as error:
        return Failure(name, f"its reply is not usable: {error}")
