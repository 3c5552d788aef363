"""The engine of several processes, each with an interpreter and a core of its own."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.core.machine import num_cores
from fusion_nb.core.protocols import Engine, Model, PartyLike
from fusion_nb.core.thread_pool import WorkerPool
from fusion_nb.core.types import Failure, Reply, Request
from fusion_nb.engines.process_worker import GIVE_UP, GO, HOLD, PARTY, REQUEST, no_gate
from fusion_nb.engines.shared_memory import Arena, pack, receive, send
from fusion_nb.errors import OptionError, Stopped, option

#: Seconds between two looks at whether the run is paused or stopped, while a worker trains.
_LOOK_SECONDS = 0.05


class ProcessEngine(Engine):
    """Runs parties in worker processes; the curve is the local engine's.

    For many tiny trainings, where threads of one interpreter wait for each other, and for
    frameworks that can't train in threads. Rows and weights lie in memory that all processes share.
    Classes and functions that a cell defines are sent along. Starting takes seconds, since every
    worker imports the framework. Workers end with the process that started them.
    """

    def __init__(
        self,
        *,
        workers: Annotated[
            int, Field(description="processes, at most; 0: one for each core", ge=0)
        ] = 0,
    ) -> None:
        self._most = workers or num_cores()
        self._parties: dict[str, PartyLike] = {}
        self._workers: WorkerPool[_Process] | None = None
        self._processes: list[_Process] = []
        self._request_arena: Arena | None = None
        self._finalizer: Callable[[], Any] = lambda: None

    def width(self, model: Model, num_parties: int) -> int:
        """Return how many parties train at once."""
        return min(self._most, num_parties)

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Return notes for the user.

        Raises OptionError on a system without such processes, or for a model or rows that can't be
        sent to one.
        """
        name = option("engine", "process")
        local = f"use {option('engine', 'local')}"
        if os.name != "posix":
            raise OptionError(f"{name} needs Linux or macOS", local)
        try:
            # Arrays are left where they are.
            _dumps((_without_gate(model), parties), protocol=5, buffer_callback=lambda _: None)
        except Exception as error:
            line = (
                "the model or its rows can't be sent to another process: "
                f"{str(error).strip().splitlines()[0]}"
            )
            raise OptionError(f"{name}: {line}", local) from error
        return [f"engine: {self.width(model, len(parties))} worker processes"]

    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Start the processes, and give them the model and the parties."""
        self._parties = {party.id: party for party in parties}
        given, self._request_arena = Arena(), Arena()
        message = pack((_without_gate(model), self._parties), given, _dumps)
        self._processes = [
            _Process(given, self._request_arena, message)
            for _ in range(self.width(model, len(parties)))
        ]
        self._workers = WorkerPool(self._processes, gate, nullcontext)
        for process in self._processes:
            process.gate = self._workers.gate
        # An engine that is dropped unclosed leaves no process behind.
        finalizer = weakref.finalize(self, _release, self._workers, self._processes)
        finalizer.atexit = False  # they end with this process in any case
        self._finalizer = finalizer

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        """Ask each party of the cohort, and yield their replies in its order."""
        assert self._workers is not None
        assert self._request_arena is not None
        message = pack(request, self._request_arena, _dumps)

        def answer(process: _Process, name: str) -> Reply:
            party = self._parties[name]
            reply, party.persistent_state = process.ask(message, name, party.persistent_state)
            return reply

        return self._workers.map(answer, cohort)

    def close(self) -> None:
        """End the processes."""
        self._finalizer()
        self._parties, self._workers, self._processes = {}, None, []


class _Process:
    """One worker process, as the thread that speaks with it sees it."""

    gate: Callable[[], None]
    #: The message with the request that it has.
    _sent: bytes

    def __init__(self, given: Arena, request_arena: Arena, first_message: bytes) -> None:
        self._given, self._request_arena = given, request_arena
        self._first_message = first_message
        self._launch()

    def ask(self, request: bytes, name: str, state: Any) -> tuple[Reply, Any]:
        """Return a party's reply, and its persistent state after it.

        request: the message that holds the request, which is sent to a process once
        Raises Stopped. A process that ends is a party's failure.
        """
        self._control[0] = GO
        try:
            if request is not self._sent:
                send(self._stdin, REQUEST + request)
                self._sent = request
            send(self._stdin, PARTY + pack((name, state), self._down))
            self._wait()
            reply, new_state = receive(self._stdout, self._up)
        except (EOFError, OSError):
            code = self._process.wait()
            self.close()
            self._launch()
            return Failure(name, f"its worker process ended (exit code {code})"), state
        if reply is None:
            raise Stopped
        return reply, new_state

    def close(self) -> None:
        """End the process."""
        for pipe in (self._stdin, self._stdout):
            pipe.close()
        self._process.kill()
        self._process.wait()

    def _launch(self) -> None:
        self._down, self._up, self._control_arena = Arena(), Arena(), Arena()
        self._control = self._control_arena.byte()
        arenas = (
            self._given,
            self._request_arena,
            self._down,
            self._up,
            self._control_arena,
        )
        fds = [arena.fd for arena in arenas]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fusion_nb.engines.process_worker", *map(str, fds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=fds,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._sent = b""
        send(self._stdin, self._first_message)

    def _wait(self) -> None:
        """Wait for the reply; meanwhile hold or stop the process with the run."""
        while not select.select([self._stdout], [], [], _LOOK_SECONDS)[0]:
            if self._control[0] == GIVE_UP:
                continue
            self._control[0] = HOLD  # for as long as the gate blocks
            try:
                self.gate()
                self._control[0] = GO
            except Stopped:
                self._control[0] = GIVE_UP


def _release(workers: WorkerPool[_Process], processes: Sequence[_Process]) -> None:
    workers.close()
    for process in processes:
        process.close()


def _dumps(thing: Any, **options: Any) -> Any:
    """Pickle a thing with the classes and functions of it that a cell defines."""
    import cloudpickle

    return cloudpickle.dumps(thing, **options)


def _without_gate(model: Model) -> Model:
    """Return a copy of a model without its gate, which belongs to this process."""
    copied = model.clone()
    copied.gate = no_gate
    return copied
