"""The engine of several processes, each with an interpreter and a core of its own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from typing import IO, Annotated, Any, NamedTuple

from pydantic import Field

from fusion_nb.core.process.machine import MOST_WORKERS, num_cores
from fusion_nb.core.process.thread_pool import WorkerPool
from fusion_nb.core.protocols import Engine, Model, PartyLike
from fusion_nb.core.types import Failure, Reply, Request
from fusion_nb.engines.process_worker import PARTY, READY, REQUEST
from fusion_nb.engines.sending import (
    GIVE_UP,
    GO,
    HOLD,
    Sent,
    checked_size,
    dumps,
    without_gate,
)
from fusion_nb.engines.shared_memory import (
    MEMORY_FOLDER,
    Arena,
    free_memory,
    pack,
    receive,
    shared_byte,
    size_of,
)
from fusion_nb.errors import OptionError, Stopped, option

#: Seconds between two looks at whether the run is paused or stopped, while a worker trains.
_LOOK_SECONDS = 0.05
#: Seconds that a worker that closed its end of a pipe has left to end by itself.
_END_SECONDS = 5


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
            int,
            Field(description="processes, at most; 0: one for each core", ge=0, le=MOST_WORKERS),
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
        if os.name != "posix":
            raise OptionError(
                f"{option('engine', 'process')} needs Linux or macOS",
                f"use {option('engine', 'local')}",
            )
        size = checked_size("process", lambda: size_of((without_gate(model), parties), dumps))
        return [
            f"engine: {self.width(model, len(parties))} worker processes",
            *_room_note(size),
        ]

    def start(self, parties: Sequence[PartyLike], model: Model, gate: Callable[[], None]) -> None:
        """Start the processes, and give them the model and the parties."""
        self._parties = {party.id: party for party in parties}
        given, self._request_arena = Arena(), Arena()
        message = pack((Sent.of(model), self._parties), given, dumps)
        setup = _Setup(given, self._request_arena, message)
        self._processes = _launched(self.width(model, len(parties)), setup)
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
        message = pack(request, self._request_arena, dumps)

        def answer(process: _Process, name: str) -> Reply:
            party = self._parties[name]
            reply, party.carried_state = process.ask(message, name, party.carried_state)
            return reply

        return self._workers.map(answer, cohort)

    def close(self) -> None:
        """End the processes."""
        self._finalizer()
        self._parties, self._workers, self._processes = {}, None, []


class _Setup(NamedTuple):
    """All that a worker process is started with.

    given, requests: the memory of the model and the parties, and of requests;  message: the first,
    which says where in it the model and the parties are
    """

    given: Arena
    requests: Arena
    message: bytes


class _Process:
    """One worker process, as the thread that speaks with it sees it.

    It is launched at once, and is ready when it has imported the framework and read its rows. One
    that ended is launched again.
    """

    gate: Callable[[], None]
    #: The message with the request that it has.
    _sent: bytes

    def __init__(self, setup: _Setup) -> None:
        self._setup = setup
        self._process: subprocess.Popen[bytes] | None = None
        self._launch()

    def ask(self, request: bytes, name: str, state: Any) -> tuple[Reply, Any]:
        """Return a party's reply, and its persistent state after it.

        request: the message that holds the request, which is sent to a process once
        Raises Stopped. A process that ends is a party's failure, whenever it ended.
        """
        try:
            self._get_ready()
            if request is not self._sent:
                self._write(REQUEST + request)
                self._sent = request
            self._write(PARTY + pack((name, state), self._down))
            self._wait()
            reply, new_state, is_kept = receive(self._stdout, self._up)
        except (EOFError, OSError) as error:
            problem = self._end(error)
            with suppress(OSError):  # it is tried again when the next party is asked
                self._launch()
            return Failure(name, problem), state
        if reply is None:
            raise Stopped
        return reply, new_state if is_kept else state

    def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        self._process.kill()  # before its pipes are closed, so that it has no time to complain
        self._process.wait()
        for pipe in (self._stdin, self._stdout):
            with suppress(OSError):
                pipe.close()
        self._process = None

    def _launch(self) -> None:
        """Start the process, and don't wait until it is ready."""
        self._down, self._up, self._control_file = Arena(), Arena(), shared_byte()
        self._control = self._control_file.view(1)
        arenas = (self._setup.given, self._setup.requests, self._down, self._up)
        fds = [self._control_file.fd, *(fd for arena in arenas for fd in arena.fds)]
        # An interrupt (■) goes to all processes of a kernel's session. The run's control stops a
        # worker, so it has a session of its own, and until then holds interrupts back.
        with _interrupts_blocked():
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fusion_nb.engines.process_worker", *map(str, fds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=fds,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        self._sent, self._is_ready = b"", False

    def _get_ready(self) -> None:
        """Wait until the process has its model and rows. Raises Stopped without waiting longer."""
        if self._process is None:
            self._launch()
        self._control[0] = GO
        if self._is_ready:
            return
        self._write(self._setup.message)
        while not _is_ready(self._stdout, select.POLLIN):
            self._pass_gate_or_close()
        if self._stdout.read(len(READY)) != READY:
            raise EOFError
        self._is_ready = True

    def _write(self, message: bytes) -> None:
        """Write a message, as fast as the process reads it. Raises Stopped while it reads none."""
        left = memoryview(message)
        while left:
            if _is_ready(self._stdin, select.POLLOUT):
                with suppress(BlockingIOError):
                    left = left[os.write(self._stdin.fileno(), left) :]
            else:
                self._pass_gate_or_close()

    def _pass_gate_or_close(self) -> None:
        """Pass the gate; a process that has read half a message is of no use after a stop."""
        try:
            self.gate()
        except Stopped:
            self.close()
            raise

    def _wait(self) -> None:
        """Wait for the reply; meanwhile hold or stop the process with the run."""
        while not _is_ready(self._stdout, select.POLLIN):
            if self._control[0] == GIVE_UP:
                continue
            self._control[0] = HOLD  # for as long as the gate blocks
            try:
                self.gate()
                self._control[0] = GO
            except Stopped:
                self._control[0] = GIVE_UP

    def _end(self, error: Exception) -> str:
        """End the process after an error on its pipes, and return what happened to it."""
        if self._process is None:
            return f"its worker process could not be started: {error}"
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        code = self._process.poll()
        self.close()
        return f"its worker process ended (exit code {'unknown' if code is None else code})"


def _launched(count: int, setup: _Setup) -> list[_Process]:
    """Return that many processes. None is left where one of them can't be started."""
    with ExitStack() as started:
        processes = [started.enter_context(closing(_Process(setup))) for _ in range(count)]
        started.pop_all()
    return processes


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and so in a process that it starts, until that unblocks it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_ready(pipe: IO[bytes], event: int) -> bool:
    """Return whether a pipe can be read from or written to, or is broken; it waits a moment."""
    poller = select.poll()
    poller.register(pipe, event)
    return bool(poller.poll(_LOOK_SECONDS * 1000))


def _release(workers: WorkerPool[_Process], processes: Sequence[_Process]) -> None:
    workers.close()
    for process in processes:
        process.close()


def _room_note(size: int) -> list[str]:
    """Return a note where shared memory has no room for this many bytes."""
    free = free_memory()
    if free is None or size <= free:
        return []
    return [
        f"warning: {MEMORY_FOLDER} has room for {free / 1e6:.1f} of {size / 1e6:.1f} MB that the "
        f"processes share, so files in {tempfile.gettempdir()} are used, which is slower; give a "
        "container more by --shm-size"
    ]
