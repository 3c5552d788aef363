"""A federation on this machine alone: a SuperLink and nodes, each a process with its rows."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fusion_nb.core.protocols import Model, PartyLike
from fusion_nb.engines.flower.children import Child, free_address, listens
from fusion_nb.engines.flower.link import Link
from fusion_nb.engines.sending import Sent, dumps


class Rehearsal:
    """A SuperLink and nodes on loopback, as processes that end with this one.

    model, parties: what the nodes are given, once each: a file that is deleted when it was read
    """

    def __init__(
        self, model: Model, parties: Sequence[PartyLike], num_nodes: int, gate: Callable[[], None]
    ) -> None:
        self._sent, self._gate = Sent.of(model), gate
        #: The parties of each node by name.
        self._shares: list[dict[str, PartyLike]] = [
            {party.id: party for party in parties[i::num_nodes]} for i in range(num_nodes)
        ]
        self._place = {name: i for i, share in enumerate(self._shares) for name in share}
        self._folder = Path(tempfile.mkdtemp(prefix="fusion_nb_flower_"))
        self.address = free_address()
        self._superlink: Child | None = None
        self._children: dict[int, Child] = {}
        self._nodes: dict[int, int] = {}
        self._num_started = 0
        try:
            self._start_superlink()
            self._start_nodes(range(num_nodes))
            self.link = Link(self.address, None)
        except BaseException:
            self._end()
            raise

    @property
    def pids(self) -> Mapping[str, int]:
        """The numbers of the processes, by their names."""
        found = {f"node {i + 1}": child.pid for i, child in self._children.items()}
        return found | ({"SuperLink": self._superlink.pid} if self._superlink else {})

    @property
    def num_nodes(self) -> int:
        """The number of nodes."""
        return len(self._shares)

    def node_of(self, party: str) -> int:
        """Return the id of the node of a party."""
        return self._nodes[self._place[party]]

    def restart_ended(self) -> None:
        """Start nodes anew whose processes have ended. Raises RunError or Stopped."""
        ended = [i for i, child in self._children.items() if child.has_ended]
        if ended:
            self._start_nodes(ended)

    def is_gone(self, node: int) -> str:
        """Return why a node will not answer any more, or ""."""
        here = next((i for i, found in self._nodes.items() if found == node), None)
        if here is None:
            return "its node has ended"
        return "its node has ended" if self._children[here].has_ended else ""

    def close(self) -> None:
        """End the run at the SuperLink, and all processes."""
        self.link.close()
        self._end()

    def _start_superlink(self) -> None:
        host, _, port = self.address.rpartition(":")
        self._superlink = self._start(
            "SuperLink",
            [
                "superlink",
                "--insecure",
                "--host",
                host,
                "--port",
                port,
                "--isolation",
                "process",
                "--disable-runtime-dependency-installation",
            ],
        )
        self._superlink.wait_until(lambda: listens(self.address), self._gate)

    def _start_nodes(self, places: Sequence[int]) -> None:
        for i in places:
            if (before := self._children.pop(i, None)) is not None:
                before.close()
            file = self._folder / f"parties_{self._num_started}"
            _write(file, (self._sent, self._shares[i]))
            self._children[i] = self._start(f"node {i + 1}", ["node", self.address, str(file)])
        for i in places:
            child = self._children[i]
            child.wait_until(child.has_said_something, self._gate)
            self._nodes[i] = int(child.said())

    def _start(self, name: str, arguments: Sequence[str]) -> Child:
        self._num_started += 1
        return Child(self._folder, f"{name} ({self._num_started})", arguments)

    def _end(self) -> None:
        for child in (*self._children.values(), self._superlink):
            if child is not None:
                child.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _write(file: Path, thing: Any) -> None:
    """Write a file that its owner alone may read."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(dumps(thing))
