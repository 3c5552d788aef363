"""The room that the nodes of a Ray cluster have for workers: waited for, and told if there is none.

Ray itself starts an actor without room whenever there is some, and says nothing meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fusion_nb.errors import OptionError, option

#: Seconds in which the workers of a run that has just ended release their CPUs.
USUAL_WAIT = 10.0
#: Seconds between two looks at the nodes.
_LOOK_SECONDS = 0.2
_ENGINE = option("engine", "ray")

Node = Mapping[str, float]


def count(node: Node, cpus: float, gpus: float) -> int:
    """Return how many workers a node has room for."""
    shares = [
        node.get(name, 0.0) / share for name, share in (("CPU", cpus), ("GPU", gpus)) if share
    ]
    return int(min(shares, default=0) + 1e-9)


def described(node: Node) -> str:
    """Return the resources of a node in words."""
    gpus = node.get("GPU", 0)
    return f"{node.get('CPU', 0):g} CPUs" + (f", {gpus:g} GPUs" if gpus else "")


def nodes_of(ray: Any) -> list[Node]:
    """Return the resources of each node that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def free_of(ray: Any) -> list[Node]:
    """Return the resources of each node that nobody uses now."""
    try:
        return [*ray._private.state.available_resources_per_node().values()]
    except AttributeError:  # in another version: those of all nodes together
        return [ray.available_resources()]


class Room:
    """The room for workers that each hold the same shares of a node.

    ray:     the package, connected;  cpus, gpus: the shares of each
    seconds: how long room is waited for
    """

    def __init__(self, ray: Any, cpus: float, gpus: float, seconds: float = USUAL_WAIT) -> None:
        self._ray, self._shares, self._seconds = ray, (cpus, gpus), seconds
        self._since: float | None = None
        self._looked = 0.0

    def total(self) -> int:
        """Return how many workers all nodes have room for. Raises OptionError for none."""
        if not (found := self._count(nodes_of(self._ray))):
            raise self._too_few()
        return found

    def wait(self, gate: Callable[[], None]) -> int:
        """Wait until a node has room for a worker, and return for how many there is room.

        Raises OptionError where none gets it in time.

        gate: passed meanwhile; it may block or raise Stopped
        """
        end = time.monotonic() + self._seconds
        while not (found := self._count(free_of(self._ray))):
            gate()
            if time.monotonic() >= end:
                raise self._taken() if self._count(nodes_of(self._ray)) else self._too_few()
            time.sleep(_LOOK_SECONDS)
        return found

    def watch(self, has_workers: bool) -> None:
        """Raise OptionError where the nodes that are left have had no room for long enough.

        has_workers: whether one has started, so that all is well
        """
        now = time.monotonic()
        if has_workers:
            self._since = None
        elif now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            if self._count(nodes_of(self._ray)):
                self._since = None
            elif self._since is None:
                self._since = now
            elif now - self._since >= self._seconds:
                raise self._too_few()

    def _count(self, nodes: Sequence[Node]) -> int:
        return sum(count(node, *self._shares) for node in nodes)

    def _needs(self) -> str:
        cpus, gpus = self._shares
        return f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")

    def _too_few(self) -> OptionError:
        has = "; ".join(map(described, nodes_of(self._ray)))
        return OptionError(
            f"{_ENGINE}: no node of the cluster has {self._needs()} for a worker",
            f"its nodes have {has}; use smaller cpus= and gpus=; where nodes are added on demand, "
            "say workers=4,wait=600",
        )

    def _taken(self) -> OptionError:
        has, free = (
            "; ".join(map(described, nodes)) for nodes in (nodes_of(self._ray), free_of(self._ray))
        )
        return OptionError(
            f"{_ENGINE}: no node of the cluster has {self._needs()} free for a worker",
            f"its nodes have {has}, of which free: {free}; end what uses them (`ray status` tells "
            "how much), use smaller cpus= and gpus=, or wait longer, as wait=600",
        )
