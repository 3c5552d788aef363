"""The actors that the runs of this kernel share, and the turns that they are lent for."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Generic, Protocol, TypeVar

from fusion_nb.engines.ray_actor import Answered, Lacking, Parcel, Turn, packed, unpacked
from fusion_nb.engines.sending import GIVE_UP, GO, HOLD
from fusion_nb.errors import OptionError, Stopped, option
from fusion_nb.version import __version__

#: Seconds between two looks at whether the run is paused or stopped, while a worker trains.
LOOK_SECONDS = 0.05
#: The group of an actor's threads that orders are read by, while another thread trains.
ORDERS = "orders"
_LACKING = re.compile(r"No module named '([\w.]+)'")

Gate = Callable[[], None]


class WorkerDied(Exception):
    """The actor of a worker is gone, or what it sent; the text says why."""


class Worker(Protocol):
    """A worker as a thread sees it that it is lent to."""

    #: False once it died.
    is_alive: bool

    def is_ready(self) -> bool:
        """Return whether it has started, or has failed to."""

    def knows(self, run: str, name: str) -> bool:
        """Return whether it has a party's rows already."""

    def end(self) -> None:
        """End it."""


W = TypeVar("W", bound=Worker)


class Workers(Generic[W]):
    """Workers that are lent to one thread at a time, for one party's turn.

    start: starts a worker, and returns before it is ready

    All engines of a kernel share them: a baseline would wait for ever for cores that the run which
    it is compared with holds.
    """

    def __init__(self, start: Callable[[], W]) -> None:
        self._start = start
        self._changed = threading.Condition()
        self._idle: list[W] = []
        self._starting: list[W] = []
        self._lent: list[W] = []

    def grow(self, count: int) -> None:
        """Start workers until there are this many."""
        with self._changed:
            while len(self.everyone) < count:
                self._starting.append(self._start())

    @property
    def everyone(self) -> list[W]:
        """All workers, those that start too."""
        return [*self._idle, *self._starting, *self._lent]

    @property
    def have_started(self) -> bool:
        """Whether one has started, and has not ended."""
        return bool(self._idle or self._lent)

    @contextmanager
    def lend(self, run: str, name: str, gate: Gate) -> Iterator[W]:
        """Lend a worker, if possible one that has the party's rows; wait until one is free.

        gate: passed while it waits; it may block or raise Stopped
        """
        while (worker := self._take(run, name)) is None:
            gate()
        try:
            yield worker
        finally:
            self._give_back(worker)

    def close(self) -> None:
        """End all workers."""
        with self._changed:
            for worker in self.everyone:
                worker.end()
            self._idle, self._starting, self._lent = [], [], []

    def _take(self, run: str, name: str) -> W | None:
        """Return a free worker; None where none becomes free for a moment."""
        with self._changed:
            started = [worker for worker in self._starting if worker.is_ready()]
            self._starting = [worker for worker in self._starting if worker not in started]
            self._idle += started
            if not self._idle and not self._changed.wait(LOOK_SECONDS):
                return None
            if not self._idle:
                return None
            known = (place for place, each in enumerate(self._idle) if each.knows(run, name))
            worker = self._idle.pop(next(known, 0))
            self._lent.append(worker)
            return worker

    def _give_back(self, worker: W) -> None:
        """Take a worker back; a new one takes the place of one that died."""
        with self._changed:
            if worker not in self._lent:  # they were closed meanwhile
                return
            self._lent.remove(worker)
            if worker.is_alive:
                self._idle.append(worker)
            else:
                worker.end()
                self._starting.append(self._start())
            self._changed.notify_all()


class ActorWorker:
    """An actor on a node of the cluster, as the thread sees it that it is lent to.

    ray: the package;  handle: that of the actor
    """

    def __init__(self, ray: Any, handle: Any) -> None:
        self._ray, self._handle = ray, handle
        self._versions = handle.versions.remote()
        self._turns = itertools.count()
        self._known: set[tuple[str, str]] = set()
        self._is_checked = False
        self.is_alive = True

    def is_ready(self) -> bool:
        """Return whether the actor has started, or has failed to."""
        return bool(self._ray.wait([self._versions], timeout=0)[0])

    def knows(self, run: str, name: str) -> bool:
        """Return whether the actor has a party's rows already."""
        return (run, name) in self._known

    def versions(self) -> dict[str, str]:
        """Return the versions of packages on its node. Raises WorkerDied or OptionError."""
        found: dict[str, str] = self._got(self._versions)
        return found

    def ask(self, turn: Turn, state: Any, gate: Gate) -> Answered:
        """Return a party's reply, and its persistent state after it.

        Raises Stopped, or WorkerDied, or OptionError for a package that the node lacks.
        """
        if not self._is_checked:
            check_version(self.versions())
            self._is_checked = True
        turn = turn._replace(number=next(self._turns))
        reference = self._handle.answer.remote(turn, packed(state))
        is_given_up = False
        while not self._ray.wait([reference], timeout=LOOK_SECONDS)[0]:
            is_given_up = is_given_up or not self._pass_gate(turn.number, gate)
        answered = unpacked(Parcel(*self._got(reference)), copies=True)
        if isinstance(answered, Lacking):
            raise lacking(answered.package)
        assert isinstance(answered, Answered)
        self._known.add((turn.run, turn.name))
        if answered.reply is None:
            raise Stopped
        return answered

    def forget(self, run: str) -> None:
        """Let the actor release the objects of a run."""
        self._known = {known for known in self._known if known[0] != run}
        if self.is_alive:
            with suppress(Exception):  # the cluster may be gone
                self._handle.forget.remote(run)

    def end(self) -> None:
        """End the actor."""
        self.is_alive = False
        with suppress(Exception):  # the cluster may be gone
            self._ray.kill(self._handle)

    def _pass_gate(self, turn: int, gate: Gate) -> bool:
        """Pass the gate, and let the actor wait while it blocks; return False after a stop."""
        is_held = threading.Event()

        def hold() -> None:
            is_held.set()
            self._order(turn, HOLD)

        holding = threading.Timer(LOOK_SECONDS, hold)
        holding.daemon = True
        holding.start()
        try:
            gate()
            order = GO
        except Stopped:
            order = GIVE_UP
        holding.cancel()
        holding.join()  # an order to wait must not come after the next one
        if is_held.is_set() or order == GIVE_UP:
            self._order(turn, order)
        return order == GO

    def _order(self, turn: int, order: int) -> None:
        self._handle.order.options(concurrency_group=ORDERS).remote(turn, order)

    def _got(self, reference: Any) -> Any:
        """Return an object. Raises WorkerDied where its actor or its node is gone."""
        try:
            return got(self._ray, reference)
        except (WorkerDied, OptionError):
            self.is_alive = False
            raise


def got(ray: Any, reference: Any) -> Any:
    """Return an object of the store.

    Raises WorkerDied where its actor or its node is gone, OptionError where that lacks a package.
    """
    from ray import exceptions

    try:
        return ray.get(reference)
    except exceptions.RayError as error:
        if found := _LACKING.search(str(error)):
            raise lacking(found[1]) from None
        raise WorkerDied(_cause(error)) from None


def lacking(package: str) -> OptionError:
    """Return the error for a package that a node lacks."""
    name = package.partition(".")[0]
    return OptionError(
        f"{option('engine', 'ray')}: a node of the cluster lacks the package {name!r}",
        f"install {name} on every node, in the versions of this kernel, or use "
        f"{option('engine', 'local')}",
    )


def check_version(found: Mapping[str, str]) -> None:
    """Raise OptionError where a node has another version of this package than the kernel."""
    here = __version__
    there = found.get("fusion_nb", here)
    if there != here:
        raise OptionError(
            f"{option('engine', 'ray')}: a node of the cluster has fusion_nb {there}, and this "
            f"kernel has {here}",
            f"install fusion_nb {here} on every node",
        )


def _cause(error: Exception) -> str:
    """Return in one line why an actor is gone."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("The actor died because", "The node"))]
    return f"its worker on the Ray cluster ended ({type(error).__name__}: {(told or lines)[0]})"
