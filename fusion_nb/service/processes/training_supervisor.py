"""The server's side of a training process: start, stop, supervision, and outcome."""

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

from fusion_nb.core.files import storage
from fusion_nb.service.errors import RefusedError, storage_error, to_wire
from fusion_nb.service.processes.inspection_pool import environment
from fusion_nb.service.storage.run_folder import RunFolder

#: Bytes of a training process's output that are kept.
_MAX_LOG = 1 << 20
#: Seconds between two checks of the limits.
_CHECK_SECONDS = 0.2
#: Seconds that the last output of a process that ended is waited for.
_LAST_OUTPUT_SECONDS = 1


@dataclass(frozen=True)
class Limits:
    """Limits of a training process.

    memory:  bytes of address space, or 0 for no limit
    silence: seconds without the end of a batch, after which the process counts as hung
    grace:   seconds that a stop waits for the end of the current batch
    """

    memory: int = 0
    silence: float = 600
    grace: float = 10


async def train(folder: RunFolder, limits: Limits, stop: asyncio.Event) -> dict[str, Any]:
    """Train an aggregator in a process of its own, and return the outcome.

    The outcome has `state`, and `reason` or the parts of an error. Setting `stop` ends the run at
    its last whole round. If this is cancelled, the whole rounds are kept and there is no outcome.
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
    supervisor = _Supervisor(process, folder.path / "log.txt")
    try:
        cause = await supervisor.wait(limits, stop)
    finally:
        await supervisor.kill()
    outcome = storage.read_json(folder.path / "outcome.json")
    return outcome or _lost(process.returncode or 0, cause, stop.is_set())


class _Supervisor:
    """Supervises a process that sends one byte whenever a batch has ended.

    log: file for the process's output
    """

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._last_pulse = time.monotonic()

    async def wait(self, limits: Limits, stop: asyncio.Event) -> str:
        """Wait until the process has ended or exceeds a limit; return the limit in words, or ""."""
        ended = asyncio.ensure_future(self._process.wait())
        stopped = asyncio.ensure_future(self._forward(stop))
        pulse = asyncio.ensure_future(self._read_pulse())
        output = asyncio.ensure_future(self._write_log())
        try:
            # asyncio's own wait lasts until all pipes are closed, and a program that a custom data
            # handler started may hold one open.
            while not ended.done() and self._process.returncode is None:
                await asyncio.wait({ended}, timeout=_CHECK_SECONDS)
                now = time.monotonic()
                if now - self._last_pulse > limits.silence:
                    return f"no batch ended in {limits.silence:g} seconds"
                if stopped.done() and now - stopped.result() > limits.grace:
                    return f"the current batch did not end within {limits.grace:g} seconds"
            return ""
        finally:
            await asyncio.wait({output}, timeout=_LAST_OUTPUT_SECONDS)
            for task in (ended, stopped, pulse, output):
                task.cancel()

    async def kill(self) -> None:
        """End the process and its descendants, such as programs of a custom data handler."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def _forward(self, stop: asyncio.Event) -> float:
        """Pass a stop on to the process, and return the time of that."""
        await stop.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(b"stop\n")
            await self._process.stdin.drain()
        return time.monotonic()

    async def _read_pulse(self) -> None:
        assert self._process.stdout is not None
        while await self._process.stdout.read(4096):
            self._last_pulse = time.monotonic()

    async def _write_log(self) -> None:
        """Write the beginning of the output, so that endless output does not fill the disk."""
        assert self._process.stderr is not None
        left = _MAX_LOG
        handle = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "wb", buffering=0) as file:
            while output := await self._process.stderr.read(1 << 16):
                file.write(output[:left])
                left = max(left - len(output), 0)


def _lost(returncode: int, cause: str, is_stopped: bool) -> dict[str, Any]:
    """Return the outcome of a process that wrote none. cause: the limit that it exceeded, or ""."""
    if is_stopped:
        reason = f"ended by force: {cause or 'it could not end by itself'}"
        return {"state": "stopped", "reason": reason}
    # A process that could not write its outcome ends with the number of the disk's error.
    if not cause and returncode > 1 and (on_disk := storage_error(OSError(returncode, ""))):
        return {"state": "failed", **to_wire(on_disk)}
    if not cause:
        is_killed = returncode == -signal.SIGKILL
        cause = (
            "it was killed; most likely memory ran out"
            if is_killed
            else f"it ended with status {returncode}"
        )
    error = RefusedError(
        f"the training process was lost: {cause}",
        "the last whole round is kept; /train goes on after it",
    )
    return {"state": "failed", **to_wire(error)}
