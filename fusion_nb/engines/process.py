"""The engine of several processes: each trains parties on a core of its own, with an interpreter of
its own.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.core.machine import num_cores
from fusion_nb.core.thread_pool import Workers
from fusion_nb.core.types import Failure, Reply, Verb
from fusion_nb.engines.process_worker import GIVE_UP, GO, HOLD, ORDERS, TURN
from fusion_nb.engines.shared_memory import Arena, pack, receive, send
from fusion_nb.errors import OptionError, Stopped

#: Seconds between two looks at whether the run is held or stopped, while a worker trains.
_LOOK = 0.05


class ProcessEngine:
    """Runs parties in worker processes; the curve is the local engine's.

    For many tiny trainings, where threads of one interpreter wait for each other, and for
    frameworks that can't train in threads. Rows and weights lie in memory that all share. What is
    defined in a cell is sent along. Starting takes seconds, since every worker imports the
    framework. Workers end with the process that started them.
    """

    def __init__(
        self,
        *,
        workers: Annotated[
            int, Field(description="processes, at most; 0: one for each core", ge=0)
        ] = 0,
    ) -> None:
        self._most = workers or num_cores()
        self._parties: dict[str, Any] = {}
        self._workers: Workers | None = None
        self._processes: list[_Process] = []
        self._forgotten: Any = None

    def width(self, model: Any, num_parties: int) -> int:
        """Return how many parties train at once."""
        return min(self._most, num_parties)

    def check(self, model: Any, orders: dict[str, Any], parties: Sequence[Any]) -> list[str]:
        """Return what to say. Raises OptionError where there is no such process, or what can't be
        sent to one.
        """
        if os.name != "posix":
            raise OptionError("--engine process needs Linux or macOS", "use --engine local")
        try:
            # Arrays are left where they are.
            _dumps((_bare(model), parties), protocol=5, buffer_callback=lambda _: None)
        except Exception as error:
            line = (
                "the model or its rows can't be sent to another process: "
                f"{str(error).strip().splitlines()[0]}"
            )
            raise OptionError(f"--engine process: {line}", "use --engine local") from error
        return [f"engine: {self.width(model, len(parties))} worker processes"]

    def start(self, parties: Sequence[Any], model: Any, gate: Callable[[], None]) -> None:
        """Start the processes, and give them the model and the parties."""
        self._parties = {party.id: party for party in parties}
        given, orders = Arena(), Arena()
        message = pack((_bare(model), self._parties), given, _dumps)
        self._orders = orders
        self._processes = [
            _Process(given, orders, message) for _ in range(self.width(model, len(parties)))
        ]
        self._workers = Workers(self._processes, gate, nullcontext)
        for process in self._processes:
            process.gate = self._workers.gate
        # Whoever drops an engine without closing it leaves no process behind.
        self._forgotten = weakref.finalize(self, _let_go, self._workers, self._processes)
        self._forgotten.atexit = False  # they end with this process as it is

    def run(self, verb: Verb, cohort: Sequence[str], **orders: Any) -> Iterator[Reply]:
        """Ask each party of the cohort, and yield their replies in its order."""
        assert self._workers is not None
        told = pack((verb, orders), self._orders, _dumps)

        def answer(process: _Process, name: str) -> Reply:
            party = self._parties[name]
            reply, party.memory = process.ask(told, name, party.memory)
            return reply

        return self._workers.map(answer, cohort)

    def close(self) -> None:
        """End the processes."""
        if self._forgotten:
            self._forgotten()
        self._parties, self._workers, self._processes = {}, None, []


class _Process:
    """One worker process, as the thread that speaks with it sees it."""

    gate: Callable[[], None]
    #: The orders that it has.
    _told: bytes

    def __init__(self, given: Arena, orders: Arena, message: bytes) -> None:
        self._given, self._orders, self._message = given, orders, message
        self._launch()

    def ask(self, told: bytes, name: str, memory: Any) -> tuple[Reply, Any]:
        """Return a party's reply, and what it remembers. Raises Stopped; a process that ends is a
        party's failure.

        told: the message that holds the verb and the orders, which is sent once
        """
        self._control[0] = GO
        try:
            if told is not self._told:
                send(self._asked, ORDERS + told)
                self._told = told
            send(self._asked, TURN + pack((name, memory), self._down))
            self._wait()
            reply, memory = receive(self._answers, self._up)
        except (EOFError, OSError):
            code = self._process.wait()
            self.close()
            self._launch()
            return Failure(name, f"its worker process ended (exit code {code})"), memory
        if reply is None:
            raise Stopped
        return reply, memory

    def close(self) -> None:
        """End the process."""
        for pipe in (self._asked, self._answers):
            pipe.close()
        self._process.kill()
        self._process.wait()

    def _launch(self) -> None:
        self._down, self._up, self._control_arena = Arena(), Arena(), Arena()
        self._control = self._control_arena.byte()
        fds = [a.fd for a in (self._given, self._orders, self._down, self._up, self._control_arena)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fusion_nb.engines.process_worker", *map(str, fds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=fds,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._asked, self._answers = self._process.stdin, self._process.stdout
        self._told = b""
        send(self._asked, self._message)

    def _wait(self) -> None:
        """Wait for the reply, and meanwhile hold or stop the process where the run is held or
        stopped.
        """
        while not select.select([self._answers], [], [], _LOOK)[0]:
            if self._control[0] == GIVE_UP:
                continue
            self._control[0] = HOLD  # for as long as the gate blocks
            try:
                self.gate()
                self._control[0] = GO
            except Stopped:
                self._control[0] = GIVE_UP


def _let_go(workers: Workers, processes: Sequence[_Process]) -> None:
    workers.close()
    for process in processes:
        process.close()


def _dumps(thing: Any, **options: Any) -> Any:
    """Pickle a thing with the classes and functions of it that a cell defines."""
    import cloudpickle

    return cloudpickle.dumps(thing, **options)


def _bare(model: Any) -> Any:
    """Return a copy of a model without its gate, which belongs to this process."""
    copied = model.clone()
    vars(copied).pop("gate", None)
    return copied
