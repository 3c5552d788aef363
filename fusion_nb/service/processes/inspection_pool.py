"""The server's side of the processes that inspect uploads."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from fusion_nb.service.errors import RefusedError, from_wire

#: Environment variables that child processes do not get.
SECRETS = ("FUSION_NB_SERVICE_KEY",)
#: Number of requests after which a new process takes over, so that leaks of readers do not add up.
_MAX_REQUESTS = 200
#: Bytes of one answer.
_MAX_ANSWER = 1 << 20


def environment() -> dict[str, str]:
    """Return the environment of a child process."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


class InspectionPool:
    """Several inspectors, so that a slow upload does not delay the others.

    The inspector that was used last is used first: it has loaded its frameworks, and the others
    need not be started.
    num_inspectors: number of processes;  timeout, max_memory: see `Inspector`
    """

    def __init__(self, num_inspectors: int, timeout: float, max_memory: int) -> None:
        self._all = [Inspector(timeout, max_memory) for _ in range(num_inspectors)]
        self._free: asyncio.LifoQueue[Inspector] = asyncio.LifoQueue()
        for inspector in reversed(self._all):
            self._free.put_nowait(inspector)

    async def ask(self, task: str, **arguments: Any) -> dict[str, Any]:
        """Run a task of `processes.inspection`, and return its result.

        Raises RefusedError or TooLargeError for an upload that can't be used.
        """
        inspector = await self._free.get()
        try:
            return await inspector.ask(task, **arguments)
        finally:
            self._free.put_nowait(inspector)

    async def close(self) -> None:
        """End the processes."""
        for inspector in self._all:
            await inspector.close()


class Inspector:
    """One process that inspects uploads, started when it is needed and replaced when it fails.

    timeout:    seconds that one task may take before its process is ended
    max_memory: bytes that the process may use, or 0 for no limit
    """

    def __init__(self, timeout: float = 120, max_memory: int = 0) -> None:
        self._timeout = timeout
        self._max_memory = max_memory
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
            line = await process.stdout.readline()
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

    async def close(self) -> None:
        """End the process, if there is one."""
        process = self._process
        self._process = None
        self._num_requests = 0
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
