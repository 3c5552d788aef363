"""The engine of a Ray cluster: parties train on other machines, or in processes of this one."""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.core.process.machine import num_cores
from fusion_nb.core.process.thread_pool import WorkerPool
from fusion_nb.core.protocols import Engine, Model, PartyLike
from fusion_nb.core.types import Failure, Reply, Request
from fusion_nb.engines import ray_cluster
from fusion_nb.engines.ray_actor import Turn, packed
from fusion_nb.engines.ray_room import USUAL_WAIT, Room
from fusion_nb.engines.ray_workers import ActorWorker, WorkerDied, Workers
from fusion_nb.engines.sending import Sent, checked_size, without_gate
from fusion_nb.errors import OptionError


class RayEngine(Engine):
    """Runs parties on a Ray cluster; the curve is the local engine's.

    Each worker is an actor that holds a share of a node. A node is sent the rows of the parties
    that it trains, once, and the weights once in a round; what parties remember stays in the
    kernel. Every node needs the packages of the kernel, fusion_nb among them. Without an address a
    Ray of this machine is started, which takes some seconds, and ends with the run; one that a cell
    started by `ray.init()` is used, and stays. Ray has wheels for Linux, for macOS, and in a beta
    version for Windows with Python 3.11 and 3.12.
    """

    def __init__(
        self,
        *,
        address: Annotated[
            str,
            Field(
                description="of the cluster that this machine is a node of, as host:6379 or auto; "
                "none: a Ray of this machine, for this run"
            ),
        ] = "",
        workers: Annotated[
            int,
            Field(description="parties that train at once, at most; 0: all that fit", ge=0),
        ] = 0,
        cpus: Annotated[float, Field(description="CPUs for each worker", gt=0)] = 1.0,
        gpus: Annotated[
            float, Field(description="GPUs for each worker, such as 0.25 for four on one", ge=0)
        ] = 0.0,
        wait: Annotated[
            float,
            Field(description="seconds in which CPUs or GPUs may become free, or nodes come", ge=0),
        ] = USUAL_WAIT,
    ) -> None:
        ray_cluster.check_address(address)
        if (cpus > 1 and cpus % 1) or (gpus > 1 and gpus % 1):
            raise OptionError(
                f"a worker can't have {cpus if cpus > 1 and cpus % 1 else gpus:g} of them",
                "give cpus= and gpus= whole numbers, or shares below 1",
            )
        self._address, self._most = address, workers
        self._shares, self._wait = (cpus, gpus), wait
        self._parties: dict[str, PartyLike] = {}
        self._work: _Work | None = None
        self._notes: tuple[str, ...] = ()
        self._finalizer: Callable[[], Any] = lambda: None

    def width(self, model: Model, num_parties: int) -> int:
        """Return how many parties train at once, by the cores of this machine before the start."""
        most = self._work.width if self._work else self._most or num_cores()
        return min(most, num_parties)

    @property
    def notes(self) -> Sequence[str]:
        """The version of Ray and the nodes of the cluster, as they were at the last start."""
        return self._notes

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Return notes for the user.

        Raises MissingExtraError without Ray, and OptionError for a model or rows that can't be sent
        to another process.
        """
        ray_cluster.imported()
        checked_size("ray", lambda: _size((without_gate(model), list(parties))))
        where = f"on the Ray cluster at {self._address}" if self._address else "of Ray"
        waits = f", which wait up to {self._wait:g} s for room" if self._wait > USUAL_WAIT else ""
        return [f"engine: workers {where}{waits}"]

    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Join the cluster, put the parties into its store, and start workers."""
        self._parties = {party.id: party for party in parties}
        cluster = ray_cluster.join(self._address)
        try:
            room = Room(cluster.ray, *self._shares, self._wait)
            self._work = _Work(cluster, self._shares, self._most, gate, room)
            self._work.give(model, parties)
            self._notes = (f"{cluster.described()}, {self._work.width} at a time",)
        except BaseException:
            ray_cluster.leave(cluster)
            raise
        # An engine that is dropped unclosed leaves no workers behind.
        finalizer = weakref.finalize(self, self._work.close)
        finalizer.atexit = False  # Ray ends them with this process
        self._finalizer = finalizer

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort, and yield their replies in its order."""
        assert self._work is not None
        return self._work.map(request, [self._parties[name] for name in cohort])

    def close(self) -> None:
        """End the workers, and leave the cluster as it was."""
        self._finalizer()
        self._parties, self._work = {}, None


class _Work:
    """The share of one engine in a cluster: its objects in the store, and its turns."""

    def __init__(
        self,
        cluster: ray_cluster.Cluster,
        shares: tuple[float, float],
        most: int,
        gate: Callable[[], None],
        room: Room,
    ) -> None:
        self._cluster, self._run, self._gate = cluster, uuid.uuid4().hex, gate
        self._workers: Workers[ActorWorker] = cluster.workers(*shares)
        self._room = room
        if cluster.is_ours or not most:
            room.total()  # nobody adds nodes to the first, or has said how many come
        if not self._workers.everyone:  # or those of another run are lent
            room.wait(gate)
        self._most = most or room.total()
        self._threads: WorkerPool[Workers[ActorWorker]] | None = None
        self._model: Any = None
        self._places: dict[str, Any] = {}
        self.width = self._most

    def give(self, model: Model, parties: Sequence[PartyLike]) -> None:
        """Put a model and the parties into the store, one by one, and start workers for them."""
        put = self._cluster.ray.put
        self.width = min(self._most, len(parties))
        self._workers.grow(self.width)
        self._model = put(packed(Sent.of(model)))
        self._places = {party.id: put(packed(party)) for party in parties}
        self._threads = WorkerPool([self._workers] * self.width, self._gate, nullcontext)

    def map(self, request: Request, parties: Sequence[PartyLike]) -> Iterator[Reply]:
        """Yield the parties' replies, in order."""
        threads = self._threads
        assert threads is not None
        place = self._cluster.ray.put(packed(request))

        def gate() -> None:
            threads.gate()
            self._room.watch(self._workers.have_started)

        def answer(workers: Workers[ActorWorker], party: PartyLike) -> Reply:
            turn = Turn(-1, self._run, party.id, self._model, place, self._places[party.id])
            try:
                with workers.lend(self._run, party.id, gate) as worker:
                    answered = worker.ask(turn, party.carried_state, threads.gate)
            except WorkerDied as error:
                return Failure(party.id, str(error))
            if answered.has_state:
                party.carried_state = answered.state
            assert answered.reply is not None
            return answered.reply

        return threads.map(answer, parties)

    def close(self) -> None:
        """Release the objects, and leave the cluster."""
        if self._threads is not None:
            self._threads.close()
        for worker in self._workers.everyone:
            worker.forget(self._run)
        ray_cluster.leave(self._cluster)


def _size(thing: Any) -> int:
    body, arrays = packed(thing)
    return len(body) + sum(array.nbytes for array in arrays)
