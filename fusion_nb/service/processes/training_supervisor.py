"""One training in a process of its own, as the server sees it: begun, stopped, watched, and asked
how it ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_nb.service.processes.inspection_pool import environment
from fusion_nb.service.storage import atomic
from fusion_nb.service.storage.run_folder import Folder

#: Bytes that are kept of what a training process says.
_MAX_LOG = 1 << 20
_SIGNALS = {signal.SIGKILL: "it was killed; most likely memory ran out"}


@dataclass(frozen=True)
class Limits:
    """What a training process may take.

    memory:  bytes of address space, or 0 for any
    silence: seconds in which no batch ends, after which it counts as hung
    grace:   seconds that a stop waits for the current batch before the process is ended
    """

    memory: int = 0
    silence: float = 600
    grace: float = 10


async def train(folder: Folder, limits: Limits, stop: asyncio.Event) -> dict[str, Any]:
    """Train what a folder holds, and return its outcome: `state`, and `reason`, or `error` and
    `hint`.

    Set `stop` to end it at its last whole round. Cancelled, it leaves the rounds that are whole and
    no outcome.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "fusion_nb.service.processes.training",
        str(folder.path),
        str(limits.memory),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )
    watched = _Watched(process, folder.path / "log.txt")
    try:
        why = await watched.end(limits, stop)
    finally:
        await watched.kill()
    told = atomic.read_json(folder.path / "outcome.json")
    return told or _untold(process.returncode or 0, why, stop.is_set())


class _Watched:
    """A process with a pulse: each byte that it sends says that a batch has ended. What it has to
    say goes to `log`.
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._pulse = time.monotonic()

    async def end(self, limits: Limits, stop: asyncio.Event) -> str:
        """Wait until it has ended, or is to be ended by force; return the reason in the second
        case.
        """
        ended = asyncio.ensure_future(self._process.wait())
        asked = asyncio.ensure_future(self._pass_on(stop))
        beats, words = (
            asyncio.ensure_future(self._listen()),
            asyncio.ensure_future(self._write_down()),
        )
        try:
            while not ended.done():
                await asyncio.wait({ended}, timeout=0.2)
                now = time.monotonic()
                if now - self._pulse > limits.silence:
                    return f"no batch ended in {limits.silence:g} seconds"
                if asked.done() and now - asked.result() > limits.grace:
                    return f"the current batch did not end within {limits.grace:g} seconds"
            return ""
        finally:
            await asyncio.wait({words}, timeout=1)  # its last words are why it ended
            for task in (ended, asked, beats, words):
                task.cancel()

    async def kill(self) -> None:
        """End it, if it still is there, and what it has started, such as programs of a client's
        data handler.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def _pass_on(self, stop: asyncio.Event) -> float:
        await stop.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(b"stop\n")
            await self._process.stdin.drain()
        return time.monotonic()

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while await self._process.stdout.read(4096):
            self._pulse = time.monotonic()

    async def _write_down(self) -> None:
        """Keep the first of what it says, so that what prints without end fills no disk."""
        assert self._process.stderr is not None
        left = _MAX_LOG
        with open(
            os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb", buffering=0
        ) as file:
            while said := await self._process.stderr.read(1 << 16):
                file.write(said[:left])
                left = max(left - len(said), 0)


def _untold(status: int, why: str, stopped: bool) -> dict[str, Any]:
    """Return the outcome of a process that could not write one."""
    if stopped:
        return {
            "state": "stopped",
            "reason": f"ended by force: {why or 'it could not end by itself'}",
        }
    if not why:
        why = _SIGNALS.get(-status, f"it ended with status {status}")  # type: ignore[call-overload]
    return {
        "state": "failed",
        "error": f"the training process was lost: {why}",
        "hint": "the weights of the last whole round are kept; /train begins anew",
    }
