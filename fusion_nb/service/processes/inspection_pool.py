"""The server's end of the process that looks at uploads: one question at a time, and a new process
where one fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from fusion_nb.service.errors import RefusedError, TooLargeError

#: What no child of the server is told.
SECRETS = ("FUSION_NB_SERVICE_KEY",)
#: Questions after which a new process takes over, so that what a reader leaks does not add up.
_QUESTIONS = 200
_LONGEST_ANSWER = 1 << 20


def environment() -> dict[str, str]:
    """Return the environment of a child process."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


class Inspectors:
    """Several processes that answer questions side by side, so that one slow upload does not hold
    all others up.

    The one that was free last is asked first: it has what it needs in memory, and others need not
    be started.
    """

    def __init__(self, count: int, timeout: float, max_memory: int) -> None:
        self._all = [Inspector(timeout, max_memory) for _ in range(count)]
        self._free: asyncio.LifoQueue[Inspector] = asyncio.LifoQueue()
        for inspector in reversed(self._all):
            self._free.put_nowait(inspector)

    async def ask(self, task: str, **asked: Any) -> dict[str, Any]:
        """Return the answer to a question. Raises RefusedError or TooLargeError with what is wrong
        with the upload.
        """
        inspector = await self._free.get()
        try:
            return await inspector.ask(task, **asked)
        finally:
            self._free.put_nowait(inspector)

    async def close(self) -> None:
        """End the processes."""
        for inspector in self._all:
            await inspector.close()


class Inspector:
    """Asks one `fusion_nb.service.inspector`, which is started when it is needed.

    timeout: seconds after which a question is given up, and its process ended;  max_memory: bytes
    it may have (0: any)
    """

    def __init__(self, timeout: float = 120, max_memory: int = 0) -> None:
        self._timeout = timeout
        self._max_memory = max_memory
        self._process: asyncio.subprocess.Process | None = None
        self._asked = 0

    async def ask(self, task: str, **asked: Any) -> dict[str, Any]:
        """Return the answer to a question, one at a time."""
        if self._asked >= _QUESTIONS:
            await self.close()
        process = self._process or await self._start()
        self._asked += 1
        try:
            answer = await asyncio.wait_for(
                self._exchange(process, {"task": task, **asked}), self._timeout
            )
        except TimeoutError:
            await self.close()
            line = f"reading it took more than {self._timeout:g} seconds"
            raise RefusedError(
                line, "send less, or start the server with more --inspect-seconds"
            ) from None
        except BaseException:  # given up: the answer would be taken for that to the next question
            await self.close()
            raise
        if answer is None:
            await self.close()
            raise RefusedError(
                "reading it ended the process that reads uploads",
                "is it larger than memory? send less",
            )
        if "failed" in answer:
            told = answer["failed"]
            kind = TooLargeError if told["kind"] == TooLargeError.__name__ else RefusedError
            raise kind(told["error"], told["hint"])
        found: dict[str, Any] = answer["ok"]
        return found

    async def _exchange(self, process: asyncio.subprocess.Process, question: dict[str, Any]) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        except (ConnectionError, ValueError):  # it ended meanwhile, or said too much
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    async def _start(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "fusion_nb.service.processes.inspection",
            str(self._max_memory),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,  # what readers have to say may quote what they read
            env=environment(),
            limit=_LONGEST_ANSWER,
            start_new_session=True,
        )
        self._asked = 0
        return self._process

    async def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        self._asked = 0
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
