"""The way from a party to its aggregator, as a contract."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from fusion_nb.engines.remote.link import Fleet


class Connection(Protocol):
    """A transport that a party's program takes part by."""

    @property
    def place(self) -> str:
        """Where it connects to, in the log."""

    @property
    def needs(self) -> str:
        """A package that must be installed, or ""."""

    def check(self, data: str) -> None:
        """Raise a FusionError for what can't be used; nothing is sent. data: names the rows."""

    def taking_part(self) -> AbstractContextManager[None]:
        """Return a context for the whole life of the party."""

    def connected(self, describe: Callable[[], bytes]) -> AbstractContextManager[Fleet[Any]]:
        """Return a connection until the end of its context.

        describe: returns what the aggregator is told about the rows, and logs that it leaves
        """
