"""The server's side of the processes that inspect uploads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.service.credentials import KEY_VARIABLE
from fusion_nb.service.errors import RefusedError, from_wire

#: Environment variables that child processes do not get.
SECRETS = (KEY_VARIABLE,)
#: The line that a process sends when it has loaded what a task needs.
BEGUN = b"begun\n"
#: Number of requests after which a new process takes over, so that leaks of readers do not add up.
_MAX_REQUESTS = 200
#: Bytes of one answer.
_MAX_ANSWER = 1 << 20
#: Bytes of an upload from which it is a large one.
_SMALL = 1 << 20
#: Processes that a client with a task of its own does not get.
_NUM_KEPT = 2
#: Bytes of an upload for which it is served as if it had come a second later.
_BYTES_PER_SECOND = 1 << 20
#: The priority of a process whose task takes long; 19 is the lowest.
_SLOW_PRIORITY = 15


def environment() -> dict[str, str]:
    """Return the environment of a child process."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


class Inspections:
    """Two pools of inspectors: one for small uploads, which never wait for large ones.

    They are one where only one task runs at a time: each process holds a framework in memory.
    num_quick, timeout, max_memory: see `InspectionPool`
    """

    def __init__(self, num_quick: int, timeout: float, max_memory: int) -> None:
        self._small = InspectionPool(num_quick, timeout, max_memory)
        self._large = (
            InspectionPool(num_quick, timeout, max_memory) if num_quick > 1 else self._small
        )

    async def ask(
        self, task: str, *, client: str = "", size: int = 0, **arguments: Any
    ) -> dict[str, Any]:
        """Run a task as `InspectionPool.ask` does.

        size: bytes of the upload
        """
        pool = self._small if size < _SMALL else self._large
        return await pool.ask(task, client=client, size=size, **arguments)

    async def close(self) -> None:
        """End the processes without a task."""
        await self._small.close()
        await self._large.close()


class InspectionPool:
    """Several inspectors, shared so that a client's slow uploads do not delay others.

    Few tasks run at first, in processes that have loaded their frameworks. A task that takes long
    goes on beside them with less of the machine, and leaves its turn to the next. Some processes
    are kept for clients that have none.
    num_quick: number of tasks that run at a time before they count as slow
    max_processes: number of processes in all
    quick_seconds: seconds after which a task is slow, without those for loading its framework
    timeout, max_memory: see `Inspector`
    """

    def __init__(
        self,
        num_quick: int,
        timeout: float,
        max_memory: int,
        *,
        max_processes: int = 8,
        quick_seconds: float = 1,
    ) -> None:
        self._num_quick = num_quick
        self._max_processes = max_processes
        self._quick_seconds = quick_seconds
        self._make = functools.partial(Inspector, timeout, max_memory)
        #: Those without a task; the last one was used last, and has loaded its frameworks.
        self._idle: list[Inspector] = []
        self._running: list[_Turn] = []
        self._waiting: list[_Turn] = []

    async def ask(
        self, task: str, *, client: str = "", size: int = 0, **arguments: Any
    ) -> dict[str, Any]:
        """Run a task of `processes.inspection`, and return its result.

        client: whose upload it is;  size: bytes of the upload, all of which have arrived
        Raises RefusedError or TooLargeError for an upload that can't be used.
        """
        turn = _Turn(client, time.monotonic() + size / _BYTES_PER_SECOND)
        self._waiting.append(turn)
        self._start_next()
        try:
            await turn.begun.wait()
        except BaseException:
            self._end(turn)
            raise
        inspector = turn.inspector = self._idle.pop() if self._idle else self._make()
        inspector.on_begin = lambda: turn.start_timer(
            self._quick_seconds, lambda: self._demote(turn)
        )
        try:
            return await inspector.ask(task, **arguments)
        finally:
            turn.stop_timer()
            # One with less of the machine can't be given more again.
            if inspector.is_slowed or len(self._idle) >= self._num_quick:
                await inspector.close()
            else:
                self._idle.append(inspector)
            self._end(turn)

    async def close(self) -> None:
        """End the processes without a task; the others end with their tasks."""
        for inspector in self._idle:
            await inspector.close()
        self._idle.clear()

    def _start_next(self) -> None:
        """Begin the turns for which there is room."""
        while self._waiting and sum(turn.is_quick for turn in self._running) < self._num_quick:
            num_running = Counter(turn.client for turn in self._running)
            num_free = self._max_processes - len(self._running)
            allowed = [
                turn
                for turn in self._waiting
                if num_free > (_NUM_KEPT if num_running[turn.client] else 0)
            ]
            if not allowed:
                return
            chosen = min(allowed, key=lambda turn: (num_running[turn.client], turn.due))
            self._waiting.remove(chosen)
            self._running.append(chosen)
            chosen.begun.set()
            self._slow_down()

    def _demote(self, turn: _Turn) -> None:
        turn.is_quick = False
        if len(self._running) > 1:
            self._slow_down()
        self._start_next()

    def _slow_down(self) -> None:
        """Give the slow tasks less of the machine, for they are not alone."""
        for turn in self._running:
            if not turn.is_quick and turn.inspector is not None:
                turn.inspector.slow_down()

    def _end(self, turn: _Turn) -> None:
        for turns in (self._waiting, self._running):
            if turn in turns:
                turns.remove(turn)
        self._start_next()


@dataclass(eq=False)
class _Turn:
    """A task that waits or runs.

    due: time of its arrival, later for a large upload: small ones do not wait behind those
    """

    client: str
    due: float
    is_quick: bool = True
    inspector: Inspector | None = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    _timer: asyncio.TimerHandle | None = None

    def start_timer(self, seconds: float, call: Callable[[], None]) -> None:
        """Call a function after some seconds, unless the turn ends before."""
        self._timer = asyncio.get_running_loop().call_later(seconds, call)

    def stop_timer(self) -> None:
        """End the timer, if there is one."""
        if self._timer is not None:
            self._timer.cancel()


class Inspector:
    """One process that inspects uploads, started when it is needed and replaced when it fails.

    timeout:    seconds that one task may take before its process is ended
    max_memory: bytes that the process may use, or 0 for no limit
    """

    def __init__(self, timeout: float = 120, max_memory: int = 0) -> None:
        self._timeout = timeout
        self._max_memory = max_memory
        #: Called when the process has loaded what a task needs, and begins with the upload.
        self.on_begin: Callable[[], None] = lambda: None
        #: Whether its process has less of the machine than others.
        self.is_slowed = False
        self._process: asyncio.subprocess.Process | None = None
        self._num_requests = 0

    async def ask(self, task: str, **arguments: Any) -> dict[str, Any]:
        """Run one task and return its result; one task at a time."""
        if self._num_requests >= _MAX_REQUESTS:
            await self.close()
        process = self._process or await self._start()
        self._num_requests += 1
        request = {"task": task, **arguments}
        try:
            answer = await asyncio.wait_for(self._exchange(process, request), self._timeout)
        except TimeoutError:
            await self.close()
            raise RefusedError(
                f"reading it took more than {self._timeout:g} seconds",
                "send less, or start the server with more --inspect-seconds",
            ) from None
        except BaseException:  # its answer would be taken for that to the next request
            await self.close()
            raise
        if answer is None:
            await self.close()
            raise RefusedError(
                "reading it ended the process that reads uploads",
                "is it larger than memory? send less",
            )
        if "failed" in answer:
            raise from_wire(answer["failed"])
        result: dict[str, Any] = answer["ok"]
        return result

    async def _exchange(
        self, process: asyncio.subprocess.Process, request: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Send a request and return the answer, or None if the process ended before it."""
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.stdin.drain()
            while (line := await process.stdout.readline()) == BEGUN:
                self.on_begin()
        except (ConnectionError, ValueError):  # it ended, or its answer is too long
            return None
        return dict(json.loads(line)) if line.endswith(b"\n") else None

    async def _start(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fusion_nb.service.processes.inspection",
            str(self._max_memory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # output of readers may quote uploads
            env=environment(),
            limit=_MAX_ANSWER,
            start_new_session=True,
        )
        self._num_requests = 0
        return self._process

    def slow_down(self) -> None:
        """Give the process less of the machine from now on, where others need it."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, _SLOW_PRIORITY)
                self.is_slowed = True

    async def close(self) -> None:
        """End the process, if there is one."""
        process = self._process
        self._process = None
        self.is_slowed = False
        self._num_requests = 0
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
